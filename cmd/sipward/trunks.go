package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unicode/utf8"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// maxPassword bounds the password of a trunk, in octets.
const maxPassword = 1024

// trunkPassword returns the password of an account, of its file where it names
// one: the first line there. Errors never hold it.
func trunkPassword(t configs.Trunk) (string, error) {
	if t.PasswordFile == "" {
		return string(t.Password), nil
	}
	// Looked at before it is opened: opening a named pipe waits.
	info, err := os.Stat(t.PasswordFile)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", t.PasswordFile)
	}
	f, err := os.Open(t.PasswordFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, maxPassword+3) // CR LF, and one octet to see that there is more
	defer clear(buf)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, rest, _ := bytes.Cut(buf[:n], []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return "", fmt.Errorf("%s is empty; write the password into its first line", t.PasswordFile)
	case len(line) > maxPassword:
		return "", fmt.Errorf("%s: the password is longer than %d octets", t.PasswordFile, maxPassword)
	case len(bytes.TrimSpace(rest)) > 0:
		return "", fmt.Errorf("%s holds more than one line; write the password alone", t.PasswordFile)
	case !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%s: the password holds a control character or is not UTF-8", t.PasswordFile)
	}
	return string(line), nil
}

// forEverybody says whether every user of this machine can read a file.
func forEverybody(file string) bool {
	info, err := os.Stat(file)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0
}

// checkTrunkFiles reads the passwords of the trunks.
func checkTrunkFiles(cfg *configs.Config, bad func(key string, err error), warn func(key, format string, args ...any)) {
	for i, t := range cfg.Trunks {
		key := fmt.Sprintf("trunks[%d].password", i)
		file := cfg.File
		if t.PasswordFile != "" {
			key += "_file"
			file = t.PasswordFile
			if _, err := trunkPassword(t); err != nil {
				bad(key, err)
				continue
			}
		} else if t.Password == "" {
			continue
		}
		if forEverybody(file) {
			warn(key, "every user of this machine can read the password in %s; chmod 600 closes it", file)
		}
	}
}

// trunks makes the accounts of the configuration ready for the proxy.
func trunks(cfg *configs.Config) ([]b2bua.Trunk, error) {
	var out []b2bua.Trunk
	for i, t := range cfg.Trunks {
		key := fmt.Sprintf("trunks[%d]", i)
		password, err := trunkPassword(t)
		if err != nil {
			return nil, &exitError{statusUsage, configs.Errors{cfg.Problem(key+".password_file", "%v", err)}}
		}
		o := b2bua.Trunk{Peer: t.Peer, Expires: t.Expires, Identity: b2bua.Identity(t.Identity)}
		if t.AuthUser != "" {
			o.Credentials = auth.Credentials{User: t.AuthUser, Password: password, Realm: t.Realm}
		}
		var errs [4]error
		o.From, errs[0] = sip.ParseURI(t.From)
		if t.Register {
			o.Account, errs[1] = sip.ParseURI(t.User)
			var u route.URI
			u, errs[2] = route.ParseNextHop(t.Server)
			o.Server = route.Target{URI: t.Server, Host: u.Host, Port: u.Port, Network: u.Transport, Side: route.Outside, Peer: t.Peer}
		}
		o.Called, o.Callers, o.Incoming, errs[3] = rewrites(t)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err) // which the configuration's check keeps out
		}
		out = append(out, o)
	}
	return out, nil
}

// rewrites makes tables of a trunk's number formats.
func rewrites(t configs.Trunk) (called, callers, incoming *route.Rewrites, err error) {
	var errs [3]error
	called, errs[0] = route.NewRewrites(t.Called)
	callers, errs[1] = route.NewRewrites(t.Callers)
	incoming, errs[2] = route.NewRewrites(t.Incoming)
	return called, callers, incoming, errors.Join(errs[:]...)
}
