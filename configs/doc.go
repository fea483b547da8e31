// Package configs loads the configuration, fills in its defaults and checks it
// strictly. The ready-made files workstation.yaml, office.yaml, lab.yaml and
// b2b.yaml stand beside it and explain their keys; the first two are also built into the program
// ([Workstation], [Office]).
//
// The file is YAML. Its keys, with the values they have when left out:
//
//	listeners:                 # at least one, of side inside
//	  - name: phones           # any short name, once
//	    side: inside           # inside | outside
//	    address: 192.0.2.1:5060 # an IP address and port, or auto:5060
//	    advertise: auto        # what messages name: auto (the default, the address above),
//	                           # an IP address, with a port or without, or a name that is looked up
//	    transports: [udp, tcp] # the default; tls may be among them, with
//	    tls: {certificate: c.pem, key: k.pem, client_ca: ca.pem, ca: ca.pem, port: 5061} # the last three may be left out
//	    networks: [192.0.2.0/24] # inside: who may use it; needed unless the address is loopback
//	    accept: anyone         # outside: anyone (the default) | peers
//	    identities: ["*@a.example"] # inside, on loopback or TLS with client_ca: whom its phones speak for in
//	                           # signatures though they proved it by no password; left out: for nobody
//	    accounts: own          # inside: own | elsewhere, where its phones have their accounts; left out: own where
//	                           # registrar has users, else both
//	    sdes: learn            # inside: learn (the default) | always | off, whether phones that are called are offered
//	                           # SRTP with keys in SDP (RFC 4568): where they showed that they want it, or all, or none
//	    dtmf: pass             # inside: pass (the default) | info, whether its phones send and take digits in INFO
//	                           # alone; then they are RFC 4733 events for everybody else
//	media:
//	  ports: 20000-29999       # the default
//	registrar:                 # none by default: phones cannot register
//	  domains: [office.example] # of the phones' addresses
//	  users: users.txt         # their passwords; see package sip/auth
//	  algorithms: [MD5]        # the default; [SHA-256, MD5] where every phone knows both
//	  open: false              # true: no passwords, for phones of this machine alone
//	  max_expires: 1h          # the default: phones register again within it
//	aliases:                   # none by default; the first that matches counts, once, before routes
//	  - number: "+4930123*"    # a pattern of package route
//	    to: sip:alice@office.example # sip:*@... keeps the number
//	emergency:                 # none by default; these calls come before everything else
//	  numbers: [110, 112]
//	  to: sip:192.0.2.8        # as in routes
//	  side: inside             # where that is; left out: inside where a network of a listener there holds it
//	trunks:                    # none by default: accounts at providers, shared by the phones
//	  - peer: provider         # the listed peer that the provider is; one trunk each
//	    server: sip:sip.provider.example;transport=tcp # where it is: as in routes, without a user
//	    register: true         # the default; false: the provider knows this sipward by its address
//	    user: "4930123"        # the account; name@domain where that is not the server's
//	    auth_user: c4711       # that the password is for; left out: the user
//	    password_file: secret  # a file with the password in its first line; or password: ...
//	    realm: provider.example # the only one that is answered; left out: any
//	    expires: 10m           # the default: what is asked for; a provider may grant less
//	    from: "+4930123"       # the main number, or an address; left out: the user
//	    identity: from         # where the caller's number stands: from (the default),
//	                           # ppi or pai (P-Preferred-Identity, P-Asserted-Identity; the main number is in From)
//	    numbers:               # ways to write them, the first that matches counts: a number or
//	                           # its beginning and end around one star, which stands for the rest in "to" too
//	      called: [{match: "00*", to: "+*"}, {match: "0*", to: "+49*"}] # of calls to the provider
//	      callers: [{match: alice, to: "+4930123100"}] # shown for a phone's user; left out, and where none matches: from
//	      incoming: [{match: "49*", to: "+49*"}] # that its calls are for, before aliases
//	test_addresses: false      # true: sip:echo@... plays back what it hears, sip:sas@... reads out the code of the call
//	routes:                    # none by default; the first that matches counts
//	  - match: "*@b.example"   # a pattern of package route
//	    from: inside           # inside | outside; left out: calls from both
//	    to: sip:192.0.2.9;transport=tcp
//	    side: outside          # inside | outside; to a trunk's peer needs from: inside
//	    peer: b                # outside: the listed peer that answers there
//	    transfer: false        # true: calls led on by a transfer or a redirection may leave by the peer's trunk
//	peers:                     # none by default
//	  - name: b
//	    domains: [b.example]   # domains or networks, or both
//	    networks: [198.51.100.0/24]
//	    trusted: false         # true: who calls is told to it and believed from it (RFC 3325)
//	limits:                    # emergency calls are under none of them
//	  calls: 4096              # at once
//	  calls_per_user: 100      # at once, of one account, or without passwords of one From at one address
//	  calls_per_source: 30     # at once, of one address outside that is no listed peer's
//	  requests_per_user: 10    # INVITE and REGISTER a second; what was not used for 10 seconds is saved up
//	  requests_per_source: 2   # INVITE a second, likewise
//	calls:                     # how it is found that somebody has left without a word
//	  session: 30m             # 90s to 24h, or off: without a sign of life in the signalling (RFC 4028)
//	  ask_after_silence: 1m    # 10s to 24h, or off: who should speak and does not is asked whether it is there
//	  end_after_silence: off   # 30s to 24h, or off: and even if it answers, the call ends
//	policy:                    # see package policy
//	  inside: off
//	  listed_peers: require    # or {require: verified}: see rules
//	  unknown_peers: prefer
//	  on_mismatch: end         # end | warn: the other end is not who it was; where pinned or verified is
//	                           # required the call ends in any case
//	  on_downgrade: warn       # end | warn: a peer gives less than before, encryption or its signature
//	  rules:                   # each of the two may stand in a rule as well
//	    - name: bank
//	      from: {side: inside, network: 192.0.2.0/28, address: "bob@*"} # each may be left out
//	      to: {address: "*@bank.example"}
//	      mode: require        # require | prefer | off | refuse
//	    - {name: partner, to: {address: "*@partner.example"}, require: verified}
//	                           # in place of mode: encrypted, which is mode: require; pinned: signed with a key of
//	                           # an earlier call; verified: with one that was checked, or of the keyring
//	identity:                  # how calls are signed; each user's or sipward's own key signs (see sipward keys)
//	  anonymous: false         # true: nothing is signed
//	  answers: anyone          # anyone | peers | nobody: whose calls get signatures of who they call
//	  keys: /var/lib/sipward/keys # left out: the folder keys beside the state
//	  openpgp:                 # keys that sign beside it, none by default
//	    - {for: alice@a.example, key_file: alice.pgp, passphrase_file: secret} # exported; the last may be left out
//	    - {for: "*@a.example", gnupg: FINGERPRINT, home: /etc/gnupg} # or one that GnuPG has; home may be left out
//	keyring:                   # OpenPGP keys of others, none by default
//	  files: partners          # a file of exported keys, or a folder of such files: who is there is trusted
//	  gnupg: false             # true, in place of files: those that GnuPG trusts
//	  home: /etc/gnupg         # its folder; left out: its own default
//	crypto:
//	  groups: [x25519mlkem768, x25519] # the default: all there are
//	  suites: [AEAD_AES_256_GCM, AEAD_AES_128_GCM, AES_256_CM_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_80]
//	                           # the default; AEAD_ARIA_256_GCM and X_AEAD_CHACHA20_POLY1305 are there to be named
//	  rekey:                   # new keys while a call goes on; nobody hears it
//	    every: 24h             # 3s to 168h, or off
//	    packets: off           # or after so many, 100 to 2147483648, of both directions
//	    min_interval: 2s       # 1s to 1h: how soon after new keys a peer may ask for others
//	api:
//	  listen: 127.0.0.1:5080   # the default; or off
//	  token_file: token        # needed where listen is not loopback
//	state: /var/lib/sipward    # what lasts over a restart: a folder, or a file with an ending such as .db;
//	                           # off: nothing; left out: ~/.local/state/sipward (see Config.StateFile)
//	                           # the identity keys are in the folder keys beside it
//	records: calls             # a folder: what became of each call, a line each that cannot be changed unnoticed
//	                           # (see package record); left out: nothing is kept
//	log:
//	  level: info              # debug | info | warn | error
//	  format: text             # text | json
//
// File names that do not begin with a slash begin at the folder of the configuration.
//
// Whatever else stands in the file is a problem, and all problems are reported
// together ([Errors]), each with its place and with what would be right. Anchors,
// aliases, merge keys, tags and further documents are not taken: a value that
// begins with a star or a square bracket stands in quotes.
package configs
