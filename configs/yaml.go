package configs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFile  = 1 << 20 // octets of a file
	maxDepth = 16      // braces, brackets and dashes within one another; 4 are needed
	maxKeys  = 100     // keys of one mapping in lines; 8 are needed
	maxValue = 4096    // octets of one value
)

// place is where something stands, counted from 1.
type place struct{ line, column int }

// document walks over the syntax tree of a file and gathers its problems. It
// remembers where every key stands, so that checks made later can point there.
type document struct {
	file     string
	places   map[string]place
	meant    map[string]bool // keys that stand there misspelled
	problems Errors
}

// value is one node with the path that leads to it.
type value struct {
	node ast.Node
	path string
}

// fail reports a problem at a key; a key that is not in the file is reported
// where the nearest key around it stands.
func (d *document) fail(path, format string, args ...any) {
	d.failAt(placeOf(d.places, path), path, format, args...)
}

func (d *document) failAt(p place, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: p.line, Column: p.column, Key: path, Message: fmt.Sprintf(format, args...)})
}

// readYAML returns the top-level value. ok is false where nothing can be read
// further, and then there is a problem.
func (d *document) readYAML(text []byte) (top value, ok bool) {
	start := place{1, 1}
	if len(text) > maxFile {
		d.failAt(place{}, "", "the file is larger than 1 MiB")
		return value{}, false
	}
	if !utf8.Valid(text) {
		d.failAt(place{}, "", "the file is not UTF-8 text; save it as UTF-8")
		return value{}, false
	}
	file, problem := parseYAML(string(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if problem != nil {
		d.failAt(problem.at, "", "%s", problem.message)
		return value{}, false
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			d.failAt(position(doc.Body), "", "a second document after ---; a configuration is one document")
			return value{}, false
		default:
			body = doc.Body
		}
	}
	if body == nil {
		d.failAt(start, "", "the file holds no settings; it needs at least listeners")
		return value{}, false
	}
	d.places[""] = start
	return value{node: body}, true
}

type syntaxProblem struct {
	at      place
	message string
}

// parseYAML runs the YAML library. Its parser calls itself for nested values, so
// the depth is bounded first; a fault of the library is a problem of the file.
func parseYAML(text string) (file *ast.File, problem *syntaxProblem) {
	defer func() {
		if recover() != nil {
			file, problem = nil, &syntaxProblem{place{1, 1}, "the file cannot be read as YAML"}
		}
	}()
	tokens := lexer.Tokenize(text)
	if problem := tooDeep(tokens); problem != nil {
		return nil, problem
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	problem = &syntaxProblem{place{1, 1}, "the file cannot be read as YAML"}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
			problem.at = place{tk.Position.Line, tk.Position.Column}
		}
		problem.message = "not YAML: " + syntax.GetMessage() + hint(text, problem.at.line)
	}
	return nil, problem
}

// hint tells what is usually behind a syntax error in that line.
func hint(text string, line int) string {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	content := lines[line-1]
	if strings.Contains(content[:len(content)-len(strings.TrimLeft(content, " \t"))], "\t") {
		return "; indent with spaces, not with tabs"
	}
	_, val, _ := strings.Cut(content, ": ")
	if val = strings.TrimSpace(val); val == "" {
		val = strings.TrimLeft(strings.TrimSpace(content), "- ")
	}
	if strings.HasPrefix(val, "*") || strings.HasPrefix(val, "[") && strings.Contains(val, "]:") {
		return `; a value that begins with * or [ stands in quotes, such as "*@b.example" or "[::1]:5060"`
	}
	return ""
}

// tooDeep bounds what makes the library's parser call itself, and the keys of one
// mapping, for which it takes a time that grows with their square.
func tooDeep(tokens token.Tokens) *syntaxProblem {
	flow, dashes, line := 0, 0, 0
	keys := map[int]int{} // by column
	inner := func(column int) {
		for c := range keys {
			if c > column {
				delete(keys, c)
			}
		}
	}
	for i, tk := range tokens {
		at := place{tk.Position.Line, tk.Position.Column}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if at.line != line {
				line, dashes = at.line, 0
			}
			dashes++
			inner(at.column)
		case token.MappingValueType:
			if flow > 0 || i == 0 {
				break
			}
			column := tokens[i-1].Position.Column
			inner(column)
			keys[column]++
			if keys[column] > maxKeys {
				return &syntaxProblem{at, fmt.Sprintf("more than %d keys in one place", maxKeys)}
			}
		}
		if flow > maxDepth || dashes > maxDepth || tk.Position.IndentNum > 16*maxDepth {
			return &syntaxProblem{at, "values lie too deep within one another"}
		}
	}
	return nil
}

// position is the first character of a node; the library's token of a mapping is
// its first colon.
func position(n ast.Node) place {
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return position(x.Values[0])
		}
	case *ast.MappingValueNode:
		return position(x.Key)
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return place{tk.Position.Line, tk.Position.Column}
	}
	return place{1, 1}
}

// plain refuses the parts of YAML that a configuration has no use for.
func (d *document) plain(v value) bool {
	switch v.node.(type) {
	case *ast.AliasNode, *ast.AnchorNode:
		d.failAt(position(v.node), v.path, `a value that begins with * or & stands in quotes, such as "*@b.example"`)
		return false
	case *ast.TagNode:
		d.failAt(position(v.node), v.path, "a value that begins with ! stands in quotes")
		return false
	}
	return true
}

// mapping reads keys and values. An empty value counts as a mapping without keys;
// nil stands for what is no mapping.
func (d *document) mapping(v value, known ...string) map[string]value {
	if !d.plain(v) {
		return nil
	}
	var entries []*ast.MappingValueNode
	switch x := v.node.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		entries = x.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{x}
	default:
		d.failAt(position(v.node), v.path, "here stand keys with values, such as %s: ...", known[0])
		return nil
	}
	fields := make(map[string]value, len(entries))
	for _, e := range entries {
		key, ok := e.Key.(*ast.StringNode)
		if !ok {
			d.failAt(position(e), v.path, "%s is not a key; known here: %s", show(e.Key.GetToken().Value), oneOf(known))
			continue
		}
		path := strings.TrimPrefix(v.path+"."+key.Value, ".")
		if !slices.Contains(known, key.Value) {
			path = strings.TrimPrefix(v.path+"."+keyText(key.Value), ".")
			if meant := nearest(key.Value, known); meant != "" {
				d.meant[v.path+"."+meant] = true
				d.failAt(position(e), path, "unknown key; did you mean %q?", meant)
			} else {
				d.failAt(position(e), path, "unknown key; known here: %s", oneOf(known))
			}
			continue
		}
		if _, twice := fields[key.Value]; twice {
			d.failAt(position(e), path, "stands here a second time; keep one")
			continue
		}
		fields[key.Value] = value{e.Value, path}
		d.places[path] = position(e)
		if _, empty := e.Value.(*ast.NullNode); !empty {
			d.places[path] = position(e.Value)
		}
	}
	return fields
}

// list reads the elements of a list. An empty value counts as an empty list.
func (d *document) list(v value, ok bool) []value {
	if !ok || !d.plain(v) {
		return nil
	}
	switch x := v.node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		elements := make([]value, len(x.Values))
		for i, n := range x.Values {
			elements[i] = value{n, fmt.Sprintf("%s[%d]", v.path, i)}
			d.places[elements[i].path] = position(n)
		}
		return elements
	}
	d.failAt(position(v.node), v.path, "here stands a list, such as [a, b] or lines that begin with -")
	return nil
}

// text reads one value as it was written, without quotes. Numbers and words such
// as true are text as well.
func (d *document) text(v value) (string, bool) {
	if !d.plain(v) {
		return "", false
	}
	var s string
	switch x := v.node.(type) {
	case *ast.NullNode:
		d.fail(v.path, "has no value")
		return "", false
	case *ast.StringNode:
		s = x.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		s = x.GetToken().Value
	default:
		d.failAt(position(v.node), v.path, "here stands one value in one line")
		return "", false
	}
	switch {
	case s == "":
		d.fail(v.path, "has no value")
		return "", false
	case len(s) > maxValue:
		d.fail(v.path, "is longer than %d octets", maxValue)
		return "", false
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			d.fail(v.path, "holds a control character")
			return "", false
		}
	}
	return s, true
}

// texts reads a list of values, each at most once.
func (d *document) texts(v value, ok bool) (items []string, paths []string) {
	seen := map[string]bool{}
	for _, element := range d.list(v, ok) {
		s, ok := d.text(element)
		switch {
		case !ok:
		case seen[s]:
			d.fail(element.path, "%s stands here a second time; keep one", show(s))
		default:
			seen[s] = true
			items, paths = append(items, s), append(paths, element.path)
		}
	}
	return items, paths
}

// word reads one of the known words.
func (d *document) word(v value, known ...string) string {
	s, ok := d.text(v)
	if !ok || slices.Contains(known, s) {
		return s
	}
	d.unknownWord(v.path, s, known)
	return ""
}

func (d *document) unknownWord(path, s string, known []string) {
	if meant := nearest(s, known); meant != "" {
		d.fail(path, "%s is not known; did you mean %q?", show(s), meant)
		return
	}
	d.fail(path, "%s is not known; write %s", show(s), oneOf(known))
}

// keyText shows a key that may be anything.
func keyText(s string) string {
	for _, c := range s {
		if c != '_' && c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return show(s)
		}
	}
	return clip(s)
}

func clip(s string) string {
	r := []rune(s)
	if len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}

// show quotes what stands in the file, cut to a length that fits a line.
func show(s string) string { return fmt.Sprintf("%q", clip(s)) }
