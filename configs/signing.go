package configs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Identity says how this sipward signs calls.
type Identity struct {
	Anonymous bool   // nothing is signed
	Answers   string // AnswersAnyone, AnswersPeers or AnswersNobody: whose calls get signatures of who they call
	Keys      string // folder of the identity keys, "" for that beside the state file; see Config.KeysFolder
	OpenPGP   []OpenPGPKey
}

// Values of Identity.Answers.
const (
	AnswersAnyone = "anyone"
	AnswersPeers  = "peers"
	AnswersNobody = "nobody"
)

// OpenPGPKey is a key that signs beside sipward's own. Exactly one of File and GnuPG
// is set.
type OpenPGPKey struct {
	For            route.Pattern // whom it speaks for
	File           string        // path of the exported secret key
	PassphraseFile string        // path, "" where the key has none
	GnuPG          string        // fingerprint of a key that GnuPG has
	Home           string        // folder of GnuPG, "" for its own default
}

// Keyring says which OpenPGP keys of others are trusted. The zero value: none; at
// most one of Files and GnuPG is set.
type Keyring struct {
	Files string // path of a file, or of a folder, with exported keys: being there is trust
	GnuPG bool   // those that GnuPG trusts
	Home  string // folder of GnuPG, "" for its own default
}

// On reports whether there is a keyring.
func (k Keyring) On() bool { return k.Files != "" || k.GnuPG }

// maxOpenPGP leaves room beside sipward's own key and the one before it: a message
// has at most four signatures.
const maxOpenPGP = 2

func (d *document) identity(v value, c *Config) {
	c.Identity.Answers = AnswersAnyone
	f := d.section(v, "anonymous", "answers", "keys", "openpgp")
	if a, ok := f["anonymous"]; ok {
		c.Identity.Anonymous = d.boolean(a)
	}
	if a, ok := f["answers"]; ok {
		c.Identity.Answers = d.word(a, AnswersAnyone, AnswersPeers, AnswersNobody)
	}
	if k, ok := f["keys"]; ok {
		c.Identity.Keys = d.filePath(k)
	}
	for _, v := range d.elements(f, "openpgp") {
		c.Identity.OpenPGP = append(c.Identity.OpenPGP, d.openPGPKey(v))
	}
	if c.Identity.Anonymous && len(c.Identity.OpenPGP) > 0 {
		d.fail("identity.openpgp", "are keys that sign, and anonymous: true has nothing signed; leave one of the two out")
	}
}

func (d *document) openPGPKey(v value) (k OpenPGPKey) {
	f := d.mapping(v, "for", "key_file", "passphrase_file", "gnupg", "home")
	if f == nil {
		return k
	}
	if p, ok := d.need(v.path, f, "for", `whom the key speaks for: an address such as alice@a.example, or "*@a.example"`); ok {
		k.For = d.pattern(p)
	}
	file, inFile := f["key_file"]
	fingerprint, inGnuPG := f["gnupg"]
	switch {
	case inFile == inGnuPG:
		if !d.failed(v.path) {
			d.fail(v.path, "needs one of key_file, an exported secret key, and gnupg, the fingerprint of a key that GnuPG has")
		}
	case inFile:
		k.File = d.filePath(file)
	default:
		s, ok := d.text(fingerprint)
		if k.GnuPG = strings.ToUpper(strings.ReplaceAll(s, " ", "")); ok && !isFingerprint(k.GnuPG) {
			d.fail(fingerprint.path, "%s is not a fingerprint; gpg --list-secret-keys shows it, 40 or 64 hexadecimal digits", show(s))
		}
	}
	if p, ok := f["passphrase_file"]; ok {
		if k.PassphraseFile = d.filePath(p); inGnuPG {
			d.fail(p.path, "is for key_file; a passphrase of a key that GnuPG has is known to gpg-agent")
		}
	}
	if h, ok := f["home"]; ok {
		if k.Home = d.filePath(h); inFile {
			d.fail(h.path, "is GnuPG's folder, and key_file is not in it; leave it out")
		}
	}
	return k
}

func isFingerprint(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789ABCDEF") == ""
}

func (d *document) keyring(v value, c *Config) {
	f := d.section(v, "files", "gnupg", "home")
	files, inFiles := f["files"]
	g, inGnuPG := f["gnupg"]
	if inFiles {
		c.Keyring.Files = d.filePath(files)
	}
	if inGnuPG {
		c.Keyring.GnuPG = d.boolean(g)
	}
	if h, ok := f["home"]; ok {
		if c.Keyring.Home = d.filePath(h); !c.Keyring.GnuPG {
			d.fail(h.path, "is GnuPG's folder; write gnupg: true beside it, or leave it out")
		}
	}
	if c.Keyring.Files != "" && c.Keyring.GnuPG {
		d.fail("keyring", "names both files and gnupg; keep one of them")
	}
}

// identities reads for whom the phones of an inside listener speak.
func (d *document) identities(f map[string]value, l *Listener) {
	v, ok := f["identities"]
	if !ok {
		return
	}
	items, paths := d.texts(v, true)
	for i, s := range items {
		p, err := route.ParsePattern(s)
		if err != nil {
			d.fail(paths[i], "%v", err)
			continue
		}
		l.Identities = append(l.Identities, p)
	}
	switch proved := slices.Equal(l.Transports, []string{tlsTransport}) && l.TLS.ClientCA != ""; {
	case d.failed(v.path):
	case l.Side == policy.Outside:
		d.fail(v.path, "is for inside listeners: nobody outside is who they say")
	case !l.Address.IP.IsLoopback() && !proved:
		d.fail(v.path, "anybody could say so on this network; write a loopback address, or transports: [tls] with tls.client_ca, or give the phones passwords (registrar.users)")
	}
}

// SpeaksFor reports whether phones of the listener speak for an address without a
// password.
func (l Listener) SpeaksFor(identity string) bool {
	return slices.ContainsFunc(l.Identities, func(p route.Pattern) bool {
		ok, err := p.Match(identity)
		return ok && err == nil
	})
}

// trusts are what policy may require.
var (
	trusts  = []string{string(policy.Encrypted), string(policy.Pinned), string(policy.Verified)}
	answers = []string{string(policy.End), string(policy.Warn)}
)

// treatment reads a default: a mode, or {require: verified}.
func (d *document) treatment(v value, mode *policy.Mode, least *policy.Trust) {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		*mode = policy.Mode(d.word(v, modes...))
		return
	}
	f := d.mapping(v, "require")
	if r, ok := d.need(v.path, f, "require", oneOf(trusts)); ok && f != nil {
		*mode, *least = policy.Require, policy.Trust(d.word(r, trusts...))
	}
}

// demand reads what a rule asks: mode or require.
func (d *document) demand(v value, f map[string]value, r *policy.Rule) {
	m, hasMode := f["mode"]
	q, hasRequire := f["require"]
	switch {
	case hasMode && hasRequire:
		d.fail(q.path, "stands beside mode; require: verified says both, so leave mode out")
	case hasRequire:
		r.Mode, r.Trust = policy.Require, policy.Trust(d.word(q, trusts...))
	case hasMode:
		r.Mode = policy.Mode(d.word(m, modes...))
	default:
		d.need(v.path, f, "mode", fmt.Sprintf("%s, or require: with one of %s", oneOf(modes), strings.Join(trusts, ", ")))
	}
	d.followUps(f, &r.OnMismatch, &r.OnDowngrade)
}

func (d *document) followUps(f map[string]value, mismatch, downgrade *policy.Answer) {
	if a, ok := f["on_mismatch"]; ok {
		*mismatch = policy.Answer(d.word(a, answers...))
	}
	if a, ok := f["on_downgrade"]; ok {
		*downgrade = policy.Answer(d.word(a, answers...))
	}
}

// checkTrust finds rules that no call could satisfy.
func (d *document) checkTrust(c *Config) {
	verified := func(least policy.Trust) bool { return least != "" && least != policy.Encrypted }
	ask := func(path string, least policy.Trust) {
		if verified(least) && c.State == StateOff && !c.Keyring.On() {
			d.fail(path, "%s: nothing is remembered (state: off) and there is no keyring, so that no call could be; add keyring, or keep state", least)
		}
	}
	ask("policy.listed_peers", c.Rules.ListedTrust)
	ask("policy.unknown_peers", c.Rules.UnknownTrust)
	for i, r := range c.Rules.List {
		ask(at("policy.rules", i, "require"), r.Trust)
	}
	if n := len(c.Identity.OpenPGP); n > maxOpenPGP {
		seen := map[string]int{}
		for i, k := range c.Identity.OpenPGP {
			if seen[k.For.String()]++; seen[k.For.String()] > maxOpenPGP {
				d.fail(at("identity.openpgp", i, "for"), "%s has two keys already, and a message has no room for more", show(k.For.String()))
			}
		}
	}
}
