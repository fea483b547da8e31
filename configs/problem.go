package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds how many problems of one file are reported.
const maxProblems = 50

// Problem is one fault of a file.
type Problem struct {
	File    string // "" for what is no fault of a file
	Line    int    // from 1; 0 where the fault has no place
	Column  int    // from 1, in characters; 0 where the fault has no place
	Key     string // path of the key, such as listeners[0].side; "" for the whole file
	Message string // what is wrong and what would be right
	Warning bool   // not wrong, but most likely not meant
}

// String is file:line:column: key: message, without what is not known; before the
// message of a warning stands "warning: ".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.File != "" && p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.File != "" && p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	if p.File != "" {
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors are the problems of a file, in the order of their places; never empty
// where [Parse] returns it.
type Errors []Problem

// Error has one line for every problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem makes a problem of what was found about a key only outside of this
// package. It stands where the key does, or else the nearest key around it.
func (c *Config) Problem(key, format string, args ...any) Problem {
	at := placeOf(c.places, key)
	return Problem{File: c.File, Line: at.line, Column: at.column, Key: key, Message: fmt.Sprintf(format, args...)}
}

// Line returns the line of a key, 0 where it is not in the file.
func (c *Config) Line(key string) int { return c.places[key].line }

func placeOf(places map[string]place, path string) place {
	for {
		if at, ok := places[path]; ok || path == "" {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Sort puts problems into the order of their places, with those that have none
// first.
func (e Errors) Sort() {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

func (e Errors) sorted() Errors {
	e.Sort()
	if len(e) > maxProblems {
		more := len(e) - maxProblems
		last := e[maxProblems]
		e = append(e[:maxProblems:maxProblems], Problem{File: last.File, Line: last.Line, Column: last.Column,
			Message: fmt.Sprintf("and %d more problems from here on", more)})
	}
	return e
}

// nearest returns the word that was probably meant, "" if none is near.
func nearest(word string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < at && d < len(k) && 2*d <= len(word) {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of letters to put in, take out, exchange or swap with
// their neighbour to get from a to b; anything above 3 counts as 3.
func distance(a, b string) int {
	if abs(len(a)-len(b)) >= 3 || len(a) > 64 {
		return 3
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return min(rows[len(a)%3][len(b)], 3)
}

func abs(n int) int { return max(n, -n) }

// oneOf lists words for a sentence: a, b or c.
func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
