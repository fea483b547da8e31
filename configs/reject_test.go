package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReject parses the files of testdata/reject. Their first lines, "# want: "
// and line:column: key: message, are the problems that have to be reported, all
// of them and no other.
func TestReject(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/reject/*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				expected, ok := strings.CutPrefix(line, "# want: ")
				if !ok {
					break
				}
				want = append(want, "x.yaml:"+strings.TrimSuffix(expected, "\n"))
			}
			if len(want) == 0 {
				t.Fatal("the first line does not say what is wanted")
			}
			c, err := Parse("x.yaml", text)
			if err == nil {
				t.Fatalf("accepted as %+v", c)
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
			var problems Errors
			if !errors.As(err, &problems) || len(problems) != len(want) || problems[0].Line == 0 || c != nil {
				t.Errorf("%d problems, configuration %v", len(problems), c)
			}
		})
	}
}

func TestRejectWholeFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"too large", strings.Repeat("#\n", maxFile/2+1), "x.yaml: the file is larger than 1 MiB"},
		{"not UTF-8", "listeners: \"\xff\"\n", "x.yaml: the file is not UTF-8 text; save it as UTF-8"},
		{"nothing", "", "x.yaml:1:1: the file holds no settings; it needs at least listeners"},
		{"value too long", minimal + "log: {level: " + strings.Repeat("x", maxValue+1) + "}\n", "x.yaml:3:14: log.level: is longer than 4096 octets"},
	} {
		if _, err := Parse("x.yaml", []byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(minimal)
	b.WriteString("routes:\n")
	for range 500 {
		b.WriteString("  - 1\n")
	}
	_, err := Parse("x.yaml", []byte(b.String()))
	var problems Errors
	if !errors.As(err, &problems) || len(problems) != maxProblems+1 || problems[maxProblems].Message != "and 450 more problems from here on" {
		t.Errorf("%d problems: %v", len(problems), problems[len(problems)-1])
	}
}

// Files that make a parser work for long, or call itself too deep, end soon.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"[", "{a: ", "- ", "? ", "a: [", "- - ", "a:\n", "!!str ", "&a ", "'", "\"", "a: |\n x\n", "---\n", "# c\n", " a:\n  ", "routes: []\n", "\t", "]", "{[", ", ", "*a "} {
		for _, n := range []int{1000, 50000} {
			start := time.Now()
			if _, err := Parse("x.yaml", []byte(strings.Repeat(unit, n))); err == nil {
				t.Errorf("%q: accepted", unit)
			}
			if d := time.Since(start); d > 30*time.Second {
				t.Errorf("%q %d times: %v", unit, n, d)
			}
		}
	}
	var deep strings.Builder
	for i := range 1000 {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	if _, err := Parse("x.yaml", []byte(deep.String())); err == nil || !strings.Contains(err.Error(), "too deep") {
		t.Errorf("1000 mappings within one another: %v", err)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"side", "side", 0}, {"sid", "side", 1}, {"isde", "side", 1}, {"sode", "side", 1}, {"", "ab", 2}, {"abcd", "xyzw", 3},
		{"listner", "listeners", 2}, {"preferr", "prefer", 1}, {"a", "abcdef", 3}, {"ca", "abc", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%s to %s: %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("%s to %s: %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
