package relay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// dict is a bencoded dictionary: values are string, int, []any or dict.
type dict map[string]any

// encode appends v in bencoding, keys in order as it asks for.
func encode(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		b = strconv.AppendInt(b, int64(len(v)), 10)
		b = append(append(b, ':'), v...)
	case int:
		b = append(strconv.AppendInt(append(b, 'i'), int64(v), 10), 'e')
	case []any:
		b = append(b, 'l')
		for _, item := range v {
			b = encode(b, item)
		}
		b = append(b, 'e')
	case dict:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = append(b, 'd')
		for _, k := range keys {
			b = encode(encode(b, k), v[k])
		}
		b = append(b, 'e')
	default:
		panic(fmt.Sprintf("relay: %T has no bencoding", v))
	}
	return b
}

var errBencode = errors.New("relay: malformed bencoding")

// maxDepth bounds lists in lists.
const maxDepth = 32

// decode reads one value and gives what follows it.
func decode(b []byte) (v any, rest []byte, err error) { return decodeAt(b, 0) }

func decodeAt(b []byte, depth int) (v any, rest []byte, err error) {
	if len(b) == 0 || depth > maxDepth {
		return nil, nil, errBencode
	}
	switch c := b[0]; {
	case c == 'i':
		text, rest, ok := cut(b[1:], 'e')
		n, err := strconv.Atoi(text)
		if !ok || err != nil {
			return nil, nil, errBencode
		}
		return n, rest, nil
	case c >= '0' && c <= '9':
		text, rest, ok := cut(b, ':')
		n, err := strconv.Atoi(text)
		if !ok || err != nil || n > len(rest) {
			return nil, nil, errBencode
		}
		return string(rest[:n]), rest[n:], nil
	case c == 'l' || c == 'd':
		items := []any{}
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			var item any
			if item, b, err = decodeAt(b, depth+1); err != nil {
				return nil, nil, err
			}
			items = append(items, item)
		}
		if len(b) == 0 {
			return nil, nil, errBencode
		}
		if c == 'l' {
			return items, b[1:], nil
		}
		d, err := pairs(items)
		return d, b[1:], err
	}
	return nil, nil, errBencode
}

func pairs(items []any) (dict, error) {
	if len(items)%2 != 0 {
		return nil, errBencode
	}
	d := dict{}
	for i := 0; i < len(items); i += 2 {
		key, ok := items[i].(string)
		if !ok {
			return nil, errBencode
		}
		d[key] = items[i+1]
	}
	return d, nil
}

func cut(b []byte, end byte) (string, []byte, bool) {
	i := slices.Index(b, end)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}
