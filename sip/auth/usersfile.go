package auth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on a users file.
const (
	maxFile     = 32 << 20 // octets
	maxUsers    = 200_000
	maxName     = 255 // octets of a name, and of a password
	maxProblems = 20  // reported of one file
)

// FileError tells what is wrong with a users file.
type FileError struct {
	Path     string
	Problems []Problem // in the order of the lines, at most 20
}

// Problem is a fault in one line. The message never repeats the line.
type Problem struct {
	Line    int // from 1
	Message string
}

// Error lists the problems, a line each.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", e.Path, p.Line, p.Message)
	}
	return b.String()
}

// accounts is a users file as read: hashes only, whatever stood in it.
type accounts struct {
	ha1      map[string][len(byStrength)]string // by rank; "" where there is none
	serves   [len(byStrength)]bool
	warnings []string
}

var plainMark = []byte("{plain}")

// parseUsers reads a whole file. Accounts are only good without problems.
func parseUsers(b []byte, realm string) (*accounts, []Problem) {
	a := &accounts{ha1: make(map[string][len(byStrength)]string)}
	var problems []Problem
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	for n := 1; len(b) > 0 && len(problems) < maxProblems; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if t := bytes.TrimSpace(line); len(t) == 0 || t[0] == '#' {
			continue
		}
		if err := a.add(line, realm); err != nil {
			problems = append(problems, Problem{n, err.Error()})
		}
	}
	a.judge()
	return a, problems
}

// add reads one line.
func (a *accounts) add(line []byte, realm string) error {
	name, secret, found := bytes.Cut(line, []byte(":"))
	if !found {
		return errors.New("no colon; a line is user:password, user:realm:hash, or a comment after #")
	}
	if err := checkName(string(name)); err != nil {
		return err
	}
	user := string(name)
	have, known := a.ha1[user]
	if !known && len(a.ha1) == maxUsers {
		return fmt.Errorf("more than %d users", maxUsers)
	}
	if middle, h, found := bytes.Cut(secret, []byte(":")); found && !bytes.HasPrefix(secret, plainMark) {
		if string(middle) != realm {
			return fmt.Errorf("the realm between the colons is not %q; a password with a colon needs {plain} in front", realm)
		}
		alg, ha1, err := readHash(string(h))
		if err != nil {
			return err
		}
		if have[alg.rank()] != "" {
			return fmt.Errorf("this user has a password or a hash with %s already", alg)
		}
		have[alg.rank()] = ha1
		a.ha1[user] = have
		return nil
	}
	password, plain := bytes.CutPrefix(secret, plainMark)
	if !plain && bytes.HasPrefix(password, []byte("{")) {
		return errors.New("a password that begins with a brace needs {plain} in front")
	}
	if err := checkPassword(password); err != nil {
		return err
	}
	if known {
		return errors.New("this user has a password or a hash already")
	}
	for i, alg := range byStrength {
		have[i] = ha1Of(alg, user, realm, password)
	}
	a.ha1[user] = have
	return nil
}

// readHash reads "{algorithm}" and hexadecimal digits; without braces it is MD5.
func readHash(s string) (Algorithm, string, error) {
	alg := MD5
	if name, digits, found := strings.Cut(s, "}"); found && strings.HasPrefix(name, "{") {
		var ok bool
		if alg, ok = algorithmNamed(name[1:]); !ok || name == "{" {
			return "", "", errors.New("the algorithm in braces is none of MD5, SHA-256 and SHA-512-256")
		}
		s = digits
	}
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != alg.size() {
		return "", "", fmt.Errorf("the hash is not %d hexadecimal digits, as %s has them", 2*alg.size(), alg)
	}
	return alg, strings.ToLower(s), nil
}

// judge works out which algorithms may be offered, and warns of the others.
func (a *accounts) judge() {
	var lack [len(byStrength)]int
	for _, have := range a.ha1 {
		for i, h := range have {
			if h == "" {
				lack[i]++
			}
		}
	}
	for i := range byStrength {
		a.serves[i] = lack[i] == 0
	}
	md5, sha256 := MD5.rank(), SHA256.rank()
	a.serves[md5] = len(a.ha1) == 0 || lack[md5] < len(a.ha1)
	if len(a.ha1) == 0 {
		a.warnings = append(a.warnings, "the users file holds no user: nobody can log in")
	} else if lack[sha256] > 0 {
		a.warnings = append(a.warnings, fmt.Sprintf("SHA-256 is not offered to anyone: %d of %d users have no hash of it; add a line with {SHA-256} for each", lack[sha256], len(a.ha1)))
	}
}

// HashLine returns the line of a users file that holds the hash in place of
// the password. A user may have one line for each algorithm; phones that know
// MD5 only need that one, and SHA-256 is offered once every user has it.
func HashLine(a Algorithm, user, realm, password string) (string, error) {
	if a.rank() < 0 {
		return "", fmt.Errorf("auth: algorithm %q; known are MD5, SHA-256 and SHA-512-256", string(a))
	}
	if err := checkRealm(realm); err != nil {
		return "", err
	}
	if err := checkName(user); err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	if err := checkPassword([]byte(password)); err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	mark := ""
	if a != MD5 {
		mark = "{" + string(a) + "}"
	}
	return user + ":" + realm + ":" + mark + HA1(a, user, realm, password), nil
}

// checkName refuses names that a line cannot hold, or that phones would put
// between quotes in more than one way.
func checkName(user string) error {
	switch {
	case user == "":
		return errors.New("the user's name is empty")
	case len(user) > maxName:
		return fmt.Errorf("the user's name has more than %d octets", maxName)
	case !utf8.ValidString(user) || strings.IndexFunc(user, unicode.IsControl) >= 0 || strings.ContainsAny(user, `":\`):
		return errors.New("the user's name holds a colon, quote, backslash or control character, or is no UTF-8")
	case strings.TrimSpace(user) != user || user[0] == '#' || strings.HasPrefix(user, "\ufeff"):
		return errors.New("the user's name begins or ends with a blank, or begins with # or a byte order mark")
	}
	return nil
}

func checkPassword(password []byte) error {
	switch {
	case len(password) == 0:
		return errors.New("the password is empty")
	case len(password) > maxName:
		return fmt.Errorf("the password has more than %d octets", maxName)
	case !utf8.Valid(password) || bytes.IndexFunc(password, unicode.IsControl) >= 0:
		return errors.New("the password holds a control character, or is no UTF-8")
	case len(bytes.TrimSpace(password)) != len(password):
		return errors.New("the password begins or ends with a blank")
	}
	return nil
}
