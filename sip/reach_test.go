package sip

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
)

// reachable counts what hangs on a stack: the elements of every map and slice
// of it, its listeners and their connections.
func reachable(s *Stack) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := map[uintptr]bool{}
	var count func(v reflect.Value) int
	count = func(v reflect.Value) int {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() || seen[v.Pointer()] {
				return 0
			}
			seen[v.Pointer()] = true
			if v.Type().Elem().PkgPath() != reflect.TypeFor[Stack]().PkgPath() {
				return 1
			}
			return 1 + count(v.Elem())
		case reflect.Struct:
			n := 0
			for i := range v.NumField() {
				n += count(v.Field(i))
			}
			return n
		case reflect.Map:
			n := 0
			for it := v.MapRange(); it.Next(); {
				n += 1 + count(it.Value())
			}
			return n
		case reflect.Slice:
			n := v.Len()
			for i := range v.Len() {
				n += count(v.Index(i))
			}
			return n
		}
		return 0
	}
	return count(reflect.ValueOf(s))
}

// failOnError is a log whose errors fail the test: a caught panic is one.
func failOnError(t *testing.T) *slog.Logger { return slog.New(errorFails{t}) }

type errorFails struct{ t *testing.T }

func (h errorFails) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (h errorFails) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h errorFails) WithGroup(string) slog.Handler                { return h }
func (h errorFails) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += "\n" + a.String(); return true })
	h.t.Error(text)
	return nil
}
