package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
	"github.com/sipward/sipward/sip/certs"
)

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// checkFiles reads the files that a configuration names: they belong to it, and
// one that cannot be used is a problem of it. The warnings are about what works
// but should be seen to.
func checkFiles(cfg *configs.Config, now time.Time) (problems, warnings configs.Errors) {
	bad := func(key string, err error) { problems = append(problems, cfg.Problem(key, "%v", err)) }
	warn := func(key, format string, args ...any) {
		p := cfg.Problem(key, format, args...)
		p.Warning = true
		warnings = append(warnings, p)
	}
	if file := cfg.API.TokenFile; file != "" && !cfg.API.Off {
		if _, err := console.ReadToken(file); err != nil {
			bad("api.token_file", err)
		}
	}
	if r := cfg.Registrar; r.Users != "" {
		users, err := auth.OpenUsers(r.Users, r.Domains[0])
		var lines *auth.FileError
		switch {
		case errors.As(err, &lines):
			for _, p := range lines.Problems {
				problems = append(problems, configs.Problem{File: lines.Path, Line: p.Line, Message: p.Message})
			}
		case err != nil:
			bad("registrar.users", err)
		default:
			for _, w := range users.Warnings() {
				warn("registrar.users", "%s", w)
			}
		}
	}
	checkTrunkFiles(cfg, bad, warn)
	checkKeyFiles(cfg, bad, warn)
	for i, l := range cfg.Listeners {
		if !slices.Contains(l.Transports, "tls") {
			continue
		}
		key := fmt.Sprintf("listeners[%d].tls", i)
		pair, err := certs.Open(l.TLS.Certificate, l.TLS.Key, func(error) {})
		if err != nil {
			bad(key, err)
		} else if leaf := pair.Certificate().Leaf; now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
			warn(key+".certificate", "it is valid from %s to %s only: whoever verifies it will not connect", leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
		} else if left := leaf.NotAfter.Sub(now); left < expiresSoon {
			warn(key+".certificate", "it expires in %d days", left/(24*time.Hour))
		}
		for name, file := range map[string]string{"client_ca": l.TLS.ClientCA, "ca": l.TLS.CA} {
			if file == "" {
				continue
			}
			if _, err := certs.Pool(file); err != nil {
				bad(key+"."+name, err)
			}
		}
		if forEverybody(l.TLS.Key) {
			warn(key+".key", "every user of this machine can read %s; chmod 600 closes it", l.TLS.Key)
		}
	}
	problems.Sort()
	return problems, warnings
}

// checkKeyFiles reads the OpenPGP keys. What GnuPG holds it asks GnuPG for.
func checkKeyFiles(cfg *configs.Config, bad func(string, error), warn func(key, format string, args ...any)) {
	if files := cfg.Keyring.Files; files != "" {
		keys, err := attest.OpenKeys(files, nil)
		if err != nil {
			bad("keyring.files", err)
		} else if keys.Len() == 0 {
			warn("keyring.files", "there is no key in %s, so nobody is known by one", files)
		}
	}
	for i, k := range cfg.Identity.OpenPGP {
		_, end, err := openOpenPGP(k)
		if err != nil {
			bad(fmt.Sprintf("identity.openpgp[%d]", i), err)
			continue
		}
		end()
	}
}

// tlsOptions reads what a TLS listener shows and trusts. Its certificate is read
// again when the file changes.
func tlsOptions(l configs.Listener, log *slog.Logger) (*sip.TLSOptions, error) {
	pair, err := certs.Open(l.TLS.Certificate, l.TLS.Key, func(err error) {
		log.Warn("the new certificate is not used", "listener", l.Name, "error", err)
	})
	if err != nil {
		return nil, err
	}
	o := &sip.TLSOptions{GetCertificate: pair.GetCertificate, GetClientCertificate: pair.GetClientCertificate}
	if l.TLS.ClientCA != "" {
		if o.ClientCAs, err = certs.Pool(l.TLS.ClientCA); err != nil {
			return nil, err
		}
		o.RequireClientCert = true
	}
	if l.TLS.CA != "" {
		if o.RootCAs, err = certs.Pool(l.TLS.CA); err != nil {
			return nil, err
		}
	}
	return o, nil
}
