package mutants

// attack is a safeguard for which the man in the middle of package test/mitm waits:
// without it he gets further than he may, or is not seen for what he is, in each of
// these attacks.
func attack(safeguard, file, function, body string, attacks ...string) mutant {
	return mutant{safeguard, file, function, body, "./test/mitm", "TestAttacks", attacks}
}

var attacked = []mutant{
	attack("short authentication string of this exchange", "keyexchange/schedule.go", "expandSAS", `return [sasLen]byte{1, 2, 3, 4}, nil`,
		"replaces shares", "replaces shares of strangers", "replaces shares and signs as himself", "replaces shares and signs as they would, to strangers"),
	attack("transcript in what is signed", "sas/attest/value.go", "Text", `
		b := []byte("dh-srtp v1 signature\x00" + string(role) + "\x00")
		for _, s := range []string{v.Type, v.Key, v.Identity} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
		return b`,
		"replaces shares and relays signatures", "replaces shares and relays the caller's signature", "takes the best suite out", "puts a group in front",
		"changes the suite of the answer", "replays an old 200", "replays an old signature of the callee", "replays an old signature of the caller",
		"replays an old INVITE's commitment"),
	attack("pin of a peer's key", "trust/judge.go", "strong", `return false`,
		"replaces shares and signs as they would", "replaces shares where a downgrade ends calls", "misbinding of a callee who is known", "misbinding of a caller who is known",
		"answers before the callee", "answers before the callee and signs as he would", "answers before the callee where a downgrade ends calls"),
	attack("signatures in T3", "keyexchange/transcript.go", "bindSignatures", `return t2`,
		"misbinding of the callee", "misbinding of the caller", "strips the callee's signature", "strips the caller's signature", "strips signatures of strangers",
		"adds a signature beside the callee's", "adds a signature beside the caller's"),
	attack("order of signatures in T3", "keyexchange/transcript.go", "sortedLV", `
		var b []byte
		for _, v := range slices.Clone(values) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		}
		return string(b)`,
		"reorders signatures"),
	attack("protection that policy requires", "b2bua/target.go", "decide", `
		invite := c.invite.Message
		from := policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: invite.From().URI.AOR()}
		d := c.p.o.Policy.Decide(policy.Facts{From: from, To: policy.Party{Side: c.b.side, Addr: addr}})
		if d.Mode == policy.Require {
			d.Mode = policy.Prefer
		}
		return d`,
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
		"gives a share without a secret"),
	attack("choice among what was offered", "keyexchange/config.go", "findSuite", `return suites[0], true`,
		"puts a suite in that has no encryption"),
	attack("dh-init in the transcript", "keyexchange/transcript.go", "transcript2", `return hashLV("dh-srtp v1 transcript", resp, fin)`,
		"takes the best suite out, unsigned"),
	attack("drop of what is not protected", "media/keyring.go", "authenticate", `
		clear, err := unprotect(k.recv, dst, pkt, what)
		if err != nil {
			return append(dst, pkt...), nil
		}
		k.confirm(now)
		return clear, nil`,
		"changes AVP to SAVP and SAVP to AVP", "replaces the callee's share alone", "changes the suite of the answer, unsigned", "replays an old 200, unsigned"),
	attack("one dh-resp in a dialog", "b2bua/exchange.go", "answeredAgain", ``,
		"answers again with another share"),
	attack("release of other forks", "sip/dialog_caller.go", "release", `d.ack(t, &p, "", nil, nil)`,
		"answers several forks", "answers several forks after the callee"),
	attack("commitment", "keyexchange/transcript.go", "commitmentMatches", `return true`,
		"grinds", "replays an old ACK", "replaces the caller's share alone"),
}
