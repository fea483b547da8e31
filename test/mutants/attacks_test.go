package mutants

import (
	"regexp"
	"strings"
	"testing"
)

// attack is a safeguard for which the man in the middle of package test/mitm waits:
// without it he gets further than he may, or is not seen for what he is, in each of
// these attacks.
func attack(safeguard, file, function, body string, attacks ...string) mutant {
	return mutant{safeguard, file, function, body, "./test/mitm", "TestAttacks", attacks}
}

// overTCP is a safeguard of what there is only over TCP, with the hybrid group.
func overTCP(safeguard, file, function, body string, attacks ...string) mutant {
	return mutant{safeguard + ", over TCP", file, function, body, "./test/mitm", "TestAttacksOverTCP", attacks}
}

// early is a safeguard where the exchange stands in a reliable 183 and its PRACK.
func early(safeguard, file, function, body string, attacks ...string) mutant {
	return mutant{safeguard + ", in early media", file, function, body, "./test/calls", "TestAttacksOnEarlyMedia", attacks}
}

// unprotectedToo makes calls that must be protected go on without.
const unprotectedToo = `
		invite := c.invite.Message
		from := policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: invite.From().URI.AOR()}
		d := c.p.o.Policy.Decide(policy.Facts{From: from, To: policy.Party{Side: c.b.side, Addr: addr}})
		if d.Mode == policy.Require {
			d.Mode = policy.Prefer
		}
		return d`

// untilConfirmed has an exchange wait for its confirmation without end.
const untilConfirmed = `return false, false, time.Time{}`

// openedAgain gives every fork the share that the first one was given.
const openedAgain = `
		var given Message
		for _, a := range t.acks {
			if m, err := Parse(a.wire); err == nil && len(m.Body) > 0 {
				given = *m
			}
		}
		d.ack(t, &p, given.ContentType(), given.Body, nil)
		flow := d.hop(&p)
		d.localSeq++
		bye, branch := d.request("BYE", d.localSeq, &p, flow)
		d.newClientTx(bye, branch, flow, func(*Message, error) {})`

// unsignedTranscript leaves the transcript out of what is signed.
const unsignedTranscript = `
		b := []byte("dh-srtp v1 signature\x00" + string(role) + "\x00")
		for _, s := range []string{v.Type, v.Key, v.Identity} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
		return b`

// confirmedByAny has an exchange confirmed by a packet that does not verify.
const confirmedByAny = `
		clear, err := unprotect(k.recv, dst, pkt, what)
		k.confirm(now)
		return clear, err`

// confirmedByOld has it confirmed by one that verifies under the keys before.
const confirmedByOld = `
		clear, err := unprotect(k.recv, dst, pkt, what)
		if err != nil && k.old != nil && now < k.oldTill {
			clear, err = unprotect(k.old, dst, pkt, what)
		}
		if err == nil {
			k.confirm(now)
		}
		return clear, err`

// forgedConfirmations are the attacks on what the caller's media waits for.
var forgedConfirmations = []string{
	"reflects the caller's probe", "reflects the caller's probe to the port of RTP",
	"replays a confirmation of an earlier call", "replays a confirmation of an earlier call to the port of RTP",
	"forges a confirmation", "forges a confirmation at the port of RTP"}

// comparedWithTheNewest takes a repeated answer for one of the exchange in force.
const comparedWithTheNewest = `
		if l.exchange == nil {
			return
		}
		attrs, err := keyexchange.Read(keyexchange.KindAnswer, slices.DeleteFunc(found(res), func(f keyexchange.Found) bool { return f.Name == "dh-sig" }))
		if err == nil && attrs.Present {
			_, err = l.exchange.TakeResp(attrs)
		}
		if err != nil {
			c.end(c.attacked(err))
		}`

// signaturesReadAgain has those of a repeated answer count.
const signaturesReadAgain = `
		if l.exchange == nil {
			return
		}
		attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
		if err == nil && (len(attrs.Sigs) != 1 || strings.HasPrefix(attrs.Sigs[0], "future")) {
			err = errNoGroup
		}
		if err != nil {
			c.end(c.attacked(err))
		}`

// inClear lets in what does not verify.
const inClear = `
		clear, err := unprotect(k.recv, dst, pkt, what)
		if err != nil {
			return append(dst, pkt...), nil
		}
		k.confirm(now)
		return clear, nil`

// besidesApart are attacks of forks on the connection of the INVITE and on others.
func besidesApart(names ...string) (all []string) {
	for _, n := range names {
		all = append(all, n, n+" over connections of his own")
	}
	return all
}

var attacked = []mutant{
	attack("short authentication string of this exchange", "keyexchange/schedule.go", "expandSAS", `return [sasLen]byte{1, 2, 3, 4}, nil`,
		"replaces shares", "replaces shares of strangers", "replaces shares and signs as himself", "replaces shares and signs as they would, to strangers"),
	attack("transcript in what is signed", "sas/attest/value.go", "Text", unsignedTranscript,
		"replaces shares and relays signatures", "replaces shares and relays the caller's signature", "takes the best suite out", "puts a group in front",
		"changes the suite of the answer", "replays an old 200", "replays an old signature of the callee", "replays an old signature of the caller",
		"replays an old INVITE's commitment"),
	attack("pin of a peer's key", "trust/judge.go", "strong", `return false`,
		"replaces shares and signs as they would", "replaces shares where a downgrade ends calls", "misbinding of a callee who is known", "misbinding of a caller who is known",
		"answers before the callee", "answers before the callee and signs as he would", "answers before the callee where a downgrade ends calls"),
	attack("signatures in T3", "keyexchange/transcript.go", "bindSignatures", `return t2`,
		"misbinding of the callee", "misbinding of the caller", "strips the callee's signature", "strips the caller's signature", "strips signatures of strangers",
		"adds a signature beside the callee's", "adds a signature beside the caller's", "adds a signature in rekeying"),
	attack("order of signatures in T3", "keyexchange/transcript.go", "sortedLV", `
		var b []byte
		for _, v := range slices.Clone(values) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		}
		return string(b)`,
		"reorders signatures"),
	attack("protection that policy requires", "b2bua/target.go", "decide", unprotectedToo,
		"strips everything", "strips the answer", "hides the group", "changes SAVP to AVP and strips", "replaces shares where calls must be pinned"),
	attack("end of a call that is not worth enough", "b2bua/verdict.go", "unfit", `return ""`,
		"strips everything under prefer", "strips the answer under prefer", "changes a signature", "moves the callee's signature to the caller",
		"replaces shares where a downgrade ends calls", "replays an old 200", "answers before the callee and signs as he would"),
	attack("share that has to come with the ACK", "b2bua/exchange.go", "takeFin", `
		attrs, err := keyexchange.Read(keyexchange.KindAck, found(ack))
		if err == nil && attrs.Present {
			err = l.exchange.TakeFin(attrs)
		}
		return err == nil`,
		"strips the ACK", "strips the ACK under prefer"),
	attack("check of points of low order", "keyexchange/exchange.go", "agree", `
		public, err := ecdh.X25519().NewPublicKey(share)
		if err != nil {
			return nil, err
		}
		z, err := key.ECDH(public)
		if err != nil {
			return make([]byte, x25519Len), nil
		}
		return z, nil`,
		"gives a share without a secret", "gives a share without a secret in rekeying"),
	attack("choice among what was offered", "keyexchange/config.go", "findSuite", `return suites[0], true`,
		"puts a suite in that has no encryption", "puts a suite in that has no encryption in rekeying"),
	attack("dh-init in the transcript", "keyexchange/transcript.go", "transcript2", `return hashLV("dh-srtp v1 transcript", resp, fin)`,
		"takes the best suite out, unsigned", "takes the best suite out in rekeying"),
	attack("drop of what is not protected", "media/keyring.go", "authenticate", inClear,
		"changes AVP to SAVP and SAVP to AVP", "replaces the callee's share alone", "changes the suite of the answer, unsigned", "replays an old 200, unsigned"),
	attack("one dh-resp in a dialog", "b2bua/exchange.go", "answeredAgain", ``,
		"answers again with another share"),
	attack("release of other forks", "sip/dialog_caller.go", "release", `d.ack(t, &p, "", nil, nil)`,
		"answers several forks", "answers several forks after the callee"),
	attack("one opening of a commitment", "sip/dialog_caller.go", "release", openedAgain,
		"answers several forks", "answers several forks after the callee"),
	attack("commitment", "keyexchange/transcript.go", "commitmentMatches", `return true`,
		"grinds", "replays an old ACK", "replaces the caller's share alone",
		"replaces the caller's share alone in rekeying", "replays the first ACK in rekeying", "replays the first commitment in rekeying"),
	attack("limit of signatures", "keyexchange/read.go", "tooMany", `return false`,
		"adds more signatures than may be"),
	attack("length of shares", "keyexchange/attribute.go", "decode", `
		b, err := base64.RawURLEncoding.DecodeString(s)
		return b, err == nil`,
		"changes the group of the answer"),
	attack("choice among the groups that were offered", "keyexchange/initiator.go", "offeredGroup", `
		g, _ = builtGroup(name)
		return g, x.offered[0].key, true`,
		"answers in a group that was not offered"),
	attack("keys that come of those before", "keyexchange/exchange.go", "Chain", `return nil`,
		"replaces shares in rekeying"),
	attack("share that has to come with new keys", "b2bua/rekey.go", "takeShare", `
		attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
		if err == nil {
			fin, err = next.TakeResp(attrs)
		}
		if err != nil {
			return "", "there are no new keys"
		}
		return fin, ""`,
		"strips the offer in rekeying", "strips the answer in rekeying"),
	attack("end where no share comes with the ACK", "b2bua/rekeyanswer.go", "waitForKeys", ``,
		"strips the ACK in rekeying"),
	attack("confirmation in time", "keyexchange/confirm.go", "Tick", untilConfirmed,
		"keeps new keys from being confirmed in rekeying", "replays a re-INVITE and its ACK in rekeying",
		"replaces the callee's share alone in rekeying", "replays the first 200 in rekeying"),
	attack("end of old keys", "media/keyring.go", "confirm", `
		k.confirmed, k.news = true, true
		k.release()
		if k.callback != nil {
			go k.callback()
			k.callback = nil
		}`,
		"plays packets under old keys in rekeying"),
	attack("old keys where new ones are refused", "b2bua/rekey.go", "rekeyAnswered", `
		if err == nil && res.Status >= 300 {
			c.end("no new keys")
			return 0
		}
		c.takeKeys(l, next, described, res)
		return 0`,
		"refuses new keys in rekeying", "hides the group in rekeying"),
	attack("confirmation by what verifies", "media/keyring.go", "authenticate", confirmedByAny, forgedConfirmations...),
	attack("confirmation by the newest keys", "media/keyring.go", "authenticate", confirmedByOld,
		"plays packets under old keys for a confirmation of new ones in rekeying"),
	attack("wait of the caller's media for the callee", "b2bua/verdict.go", "holdsBack", `return false`, forgedConfirmations...),
	attack("a repetition that is known again", "keyexchange/exchange.go", "repeats", `return x.fail(attribute, "it is not the one that was taken before")`,
		"repeats the answer in a call that stands"),
	attack("exchange that an answer belongs to", "b2bua/exchange.go", "answeredAgain", comparedWithTheNewest,
		"repeats the first answer in rekeying"),
	attack("one dh-resp in a call that stands", "keyexchange/exchange.go", "repeats", `return nil`,
		"repeats the answer with another share"),
	attack("signatures of the first answer alone", "b2bua/exchange.go", "answeredAgain", signaturesReadAgain,
		"repeats the answer with other signatures", "repeats the answer with more signatures than may be"),
	overTCP("confirmation by what verifies", "media/keyring.go", "authenticate", confirmedByAny, forgedConfirmations...),
	attack("memory of words that differed", "trust/judge.go", "doubted", `return nil`,
		"replaces shares and signs as they would, to strangers"),

	overTCP("transcript in what is signed", "sas/attest/value.go", "Text", unsignedTranscript,
		"takes the hybrid group out", "replaces the ciphertext alone"),
	overTCP("dh-init in the transcript", "keyexchange/transcript.go", "transcript2", `return hashLV("dh-srtp v1 transcript", resp, fin)`,
		"takes the hybrid group out, unsigned", "takes the hybrid group out in rekeying"),
	overTCP("pin of a peer's key", "trust/judge.go", "strong", `return false`, besidesApart(
		"answers before the callee", "answers before the callee and signs as he would", "answers before the callee where a downgrade ends calls")...),
	overTCP("release of other forks", "sip/dialog_caller.go", "release", `d.ack(t, &p, "", nil, nil)`, besidesApart(
		"answers several forks", "answers several forks after the callee")...),
	overTCP("one opening of a commitment", "sip/dialog_caller.go", "release", openedAgain, besidesApart(
		"answers several forks", "answers several forks after the callee")...),
	overTCP("one opening of a commitment on a connection that ends", "sip/dialog_caller.go", "release", openedAgain,
		"cuts the connection and answers on the next one", "cuts the connection and answers on one of his own",
		"answers, cuts the connection and answers on the next one", "cuts the connection and answers on the next one behind the callee"),
	overTCP("one dh-resp in a dialog", "b2bua/exchange.go", "answeredAgain", ``,
		"answers again with another share", "cuts the connection and answers in the callee's dialog first"),
	early("transcript in what is signed", "sas/attest/value.go", "Text", unsignedTranscript,
		"replaces shares and relays signatures", "replays an old 183"),
	early("pin of a peer's key", "trust/judge.go", "strong", `return false`,
		"replaces shares and signs as they would"),
	early("commitment", "keyexchange/transcript.go", "commitmentMatches", `return true`,
		"replaces the caller's share alone", "replays an old PRACK"),
	early("signatures in T3", "keyexchange/transcript.go", "bindSignatures", `return t2`,
		"strips the callee's signature", "strips the caller's signature"),
	early("protection that policy requires", "b2bua/target.go", "decide", unprotectedToo,
		"strips everything"),
	early("end of a call whose exchange is faulty", "b2bua/exchange.go", "attacked", `return ""`,
		"chooses a group that was not offered"),

	overTCP("confirmation in time", "keyexchange/confirm.go", "Tick", untilConfirmed,
		"replaces the ciphertext alone, unsigned", "replaces the ciphertext alone in rekeying"),
}

// No attack is there for which no safeguard is known: whatever stopped it might be
// chance.
func TestEachAttackHasAMutant(t *testing.T) {
	t.Parallel()
	b := builtOnce(t)
	caught := map[string]bool{} // by package and attack: the same over UDP and TCP
	for _, m := range attacked {
		for _, name := range m.subtests {
			caught[m.pkg+rewritten(name)] = true
		}
	}
	seen := 0
	for _, in := range []struct{ pkg, test string }{{"./test/mitm", "TestAttacks"}, {"./test/mitm", "TestAttacksOverTCP"}, {"./test/calls", "TestAttacksOnEarlyMedia"}} {
		out, err := b.asleep(in.pkg, in.test)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^ +--- PASS: `+in.test+`/(.*) \(`).FindAllStringSubmatch(out, -1) {
			if seen++; !caught[in.pkg+line[1]] {
				t.Errorf("%s, %q: name in attacked the safeguard without which it succeeds, or is seen for less than it is", in.test, strings.ReplaceAll(line[1], "_", " "))
			}
		}
	}
	if seen < 150 {
		t.Errorf("only %d attacks were seen", seen)
	}
}
