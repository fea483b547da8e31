package architecture

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tree makes a module of files; each file's text stands behind its package clause.
func tree(t *testing.T, files map[string]string) *module {
	t.Helper()
	root := fstest.MapFS{"go.mod": {Data: []byte("module m.example/x\n\ngo 1.26\n")}}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	m, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// expect compares faults with the beginnings that are wanted, in any order.
func expect(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("no fault %q among\n%s", w, strings.Join(got, "\n"))
		}
	}
}

func TestImportRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, imports string
		want                []string
	}{
		{"sip imports media", "sip/a.go", "m.example/x/media", []string{`sip/a.go: imports m.example/x/media; folder "sip" may import nothing of this module`}},
		{"a subfolder counts", "media/srtp/a.go", "m.example/x/keyexchange", []string{`media/srtp/a.go: imports m.example/x/keyexchange; folder "media" may`}},
		{"into a subfolder", "keyexchange/a.go", "m.example/x/media/srtp", []string{`keyexchange/a.go: imports m.example/x/media/srtp`}},
		{"tests of the five too", "policy/a_test.go", "m.example/x/route", []string{`policy/a_test.go: imports`}},
		{"demo in tests of media", "media/a_test.go", "m.example/x/demo", []string{`media/a_test.go: imports`}},
		{"configs beyond its row", "configs/a.go", "m.example/x/sas", []string{`configs/a.go: imports m.example/x/sas; folder "configs" may import only policy, route`}},
		{"console beyond b2bua", "console/a.go", "m.example/x/sip", []string{`console/a.go: imports`}},
		{"b2bua upwards", "b2bua/a.go", "m.example/x/configs", []string{`b2bua/a.go: imports`}},
		{"demo outside tests", "b2bua/a.go", "m.example/x/demo", []string{`b2bua/a.go: imports`}},
		{"trust beyond attest", "trust/a.go", "m.example/x/sas", []string{`trust/a.go: imports m.example/x/sas; of folder "sas" the folder "trust" may import only sas/attest`}},
		{"the root", "sas/a.go", "m.example/x", []string{`sas/a.go: imports m.example/x;`}},
		{"a folder not in the table", "util/a.go", "fmt", []string{`util/a.go: folder "util" is not in the table`}},
		{"files of another system", "sas/a_windows.go", "m.example/x/sip", []string{`sas/a_windows.go: imports`}},

		{"within a folder", "sip/a.go", "m.example/x/sip/sdp", nil},
		{"configs", "configs/a.go", "m.example/x/route", nil},
		{"trust", "trust/a.go", "m.example/x/sas/attest", nil},
		{"b2bua", "b2bua/a.go", "m.example/x/media/srtp", nil},
		{"tests of b2bua", "b2bua/a_test.go", "m.example/x/demo", nil},
		{"cmd", "cmd/sipward/a.go", "m.example/x/console", nil},
		{"another module", "sip/a.go", "m.example/xy/media", nil},
		{"standard library", "sip/a.go", "net/http", nil},
		{"testdata", "sip/testdata/a.go", "m.example/x/media", nil},
		{"a hidden folder", "sip/_old/a.go", "m.example/x/media", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tree(t, map[string]string{tt.file: "package p\n\nimport _ \"" + tt.imports + "\"\n"})
			expect(t, checkImports(m), tt.want)
		})
	}
	t.Run("a nested module", func(t *testing.T) {
		t.Parallel()
		m := tree(t, map[string]string{"sip/tool/go.mod": "module other\n", "sip/tool/a.go": "package p\n\nimport _ \"m.example/x/media\"\n"})
		expect(t, checkImports(m), nil)
	})
}

func TestExportRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code string
		want       []string
	}{
		{"parameter", `func F(a int, b ...*sdp.Session) {}`, []string{`sip/a.go: func F mentions third.example/sdp/v3.Session; types of other modules`}},
		{"result", `func F() (map[string][]sdp.Session, error) { return nil, nil }`, []string{`sip/a.go: func F`}},
		{"function parameter", `func F(func(chan sdp.Session)) {}`, []string{`sip/a.go: func F`}},
		{"constraint", `func F[T ~int | sdp.Kind](T) {}`, []string{`sip/a.go: func F`}},
		{"type argument", `var V List[sdp.Session]; type List[T any] []T`, []string{`sip/a.go: var V`}},
		{"method", `type T struct{}; func (t *T) M(sdp.Session) {}`, []string{`sip/a.go: method T.M`}},
		{"method of a generic type", `type T[E any] struct{}; func (t *T[E]) M(sdp.Session) {}`, []string{`sip/a.go: method T.M`}},
		{"field", `type T struct{ A, b sdp.Session }`, []string{`sip/a.go: type T`}},
		{"embedded", `type T struct{ *sdp.Session }`, []string{`sip/a.go: type T`}},
		{"alias", `type T = sdp.Session`, []string{`sip/a.go: type T`}},
		{"defined by it", `type T sdp.Session`, []string{`sip/a.go: type T`}},
		{"interface", `type T interface{ M() sdp.Session }`, []string{`sip/a.go: type T`}},
		{"embedded interface", `type T interface{ sdp.Reader }`, []string{`sip/a.go: type T`}},
		{"unexported type reached", `func F() *hidden { return nil }; type hidden struct{ A deeper }; type deeper = sdp.Session`, []string{`sip/a.go: type deeper`}},
		{"method of an unexported type reached", `type T struct{ hidden }; type hidden struct{}; func (hidden) M() sdp.Session { panic(0) }`, []string{`sip/a.go: method hidden.M`}},
		{"variable with a type", `var V sdp.Session`, []string{`sip/a.go: var V`}},
		{"variable by call", `var V = sdp.New()`, []string{`sip/a.go: var V`}},
		{"variable by literal", `var V = &sdp.Session{}`, []string{`sip/a.go: var V`}},
		{"variable by new", `var V = new(sdp.Session)`, []string{`sip/a.go: var V`}},
		{"variable of a variable", `var A, V = 1, sdp.Default`, []string{`sip/a.go: var V`}},
		{"name in the import", `func F(y.Node) {}`, []string{`sip/a.go: func F mentions third.example/go-yaml.Node`}},
		{"name to be guessed", `func F(srtp.Context) {}`, []string{`sip/a.go: func F mentions third.example/go-srtp.Context`}},
		{"name that cannot be guessed", `func F(odd.T) {}`, []string{`sip/a.go: func F mentions odd.T, and no import is seen to be odd`}},

		{"unexported function", `func f(sdp.Session) {}`, nil},
		{"unexported field", `type T struct{ a sdp.Session }`, nil},
		{"unexported method", `type T struct{}; func (t *T) m(sdp.Session) {}`, nil},
		{"unexported method of an interface", `type T interface{ m() sdp.Session }`, nil},
		{"unexported type not reached", `type t struct{ A sdp.Session }`, nil},
		{"body", `func F() { var s sdp.Session; _ = s }`, nil},
		{"standard library", `func F(time.Time, *http.Request, rand.Source) {}`, nil},
		{"this module", `func F(other.T) {}`, nil},
		{"value of another type", `var V = len(sdp.Default)`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tree(t, map[string]string{"sip/a.go": `package sip

import (
	"math/rand/v2"
	"net/http"
	"time"

	"m.example/x/sip/other"
	"third.example/sdp/v3"
	y "third.example/go-yaml"
	"third.example/go-srtp"
	"third.example/really"
)

` + strings.ReplaceAll(tt.code, "; ", "\n")})
			expect(t, checkExports(m), tt.want)
		})
	}
	t.Run("dot import", func(t *testing.T) {
		t.Parallel()
		m := tree(t, map[string]string{"sip/a.go": "package sip\n\nimport . \"third.example/sdp\"\n\nfunc F(Session, int) {}\n"})
		expect(t, checkExports(m), []string{"sip/a.go: func F mentions third.example/sdp.Session"})
	})
	t.Run("tests and commands export nothing", func(t *testing.T) {
		t.Parallel()
		code := "import \"third.example/sdp\"\n\nfunc F(sdp.Session) {}\n"
		m := tree(t, map[string]string{"media/a_test.go": "package sip\n\n" + code, "cmd/x/main.go": "package main\n\n" + code})
		expect(t, checkExports(m), nil)
	})
	t.Run("types of another file", func(t *testing.T) {
		t.Parallel()
		m := tree(t, map[string]string{
			"sip/a.go": "package sip\n\nfunc F(hidden) {}\n",
			"sip/b.go": "package sip\n\nimport \"third.example/sdp\"\n\ntype hidden struct{ sdp.Session }\n",
		})
		expect(t, checkExports(m), []string{"sip/b.go: type hidden"})
	})
}

func TestCommentRuleCanFail(t *testing.T) {
	t.Parallel()
	m := tree(t, map[string]string{
		"none/a.go":        "package none\n",
		"none/b.go":        "// b.go holds something.\n\npackage none\n",
		"other/a.go":       "// This package does something for somebody.\npackage other\n",
		"short/a.go":       "// Package short.\npackage short\n",
		"long/a.go":        "// Package longer says something else entirely.\npackage long\n",
		"good/a.go":        "package good\n",
		"good/doc.go":      "// Package good does what a sentence says.\npackage good\n",
		"good/a_test.go":   "package good_test\n",
		"cmd/bad/main.go":  "// Package main is what it is here.\npackage main\n",
		"cmd/good/main.go": "// Command good does what a sentence says.\npackage main\n",
		"tests/a_test.go":  "package tests\n",
		"gen/a.go":         "//go:build ignore\n\npackage main\n",
	})
	expect(t, checkComments(m), []string{
		"none/a.go: package none has no package comment; write one that begins with",
		"other/a.go: ", "short/a.go: ", "long/a.go: ", "cmd/bad/main.go: ", "tests/a_test.go: ",
	})
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	for _, root := range []fstest.MapFS{
		{},
		{"go.mod": {Data: []byte("go 1.26\n")}},
		{"go.mod": {Data: []byte("module x\n")}, "a.go": {Data: []byte("package\n")}},
	} {
		if m, err := read(root); err == nil {
			t.Errorf("read %+v", m)
		}
	}
}
