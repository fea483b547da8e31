// Package configs loads the configuration, fills in its defaults and checks it
// strictly. The ready-made files workstation.yaml and office.yaml stand beside it
// and explain every key; they are also built into the program ([Workstation],
// [Office]).
//
// The file is YAML. Its keys, with the values they have when left out:
//
//	listeners:                 # at least one, of side inside
//	  - name: phones           # any short name, once
//	    side: inside           # inside | outside
//	    address: 192.0.2.1:5060 # an IP address and port, or auto:5060
//	    transports: [udp, tcp] # the default
//	    networks: [192.0.2.0/24] # inside: who may use it; needed unless the address is loopback
//	    accept: anyone         # outside: anyone (the default) | peers
//	media:
//	  ports: 20000-29999       # the default
//	routes:                    # none by default; the first that matches counts
//	  - match: "*@b.example"   # a pattern of package route
//	    from: inside           # inside | outside; left out: calls from both
//	    to: sip:192.0.2.9;transport=tcp
//	    side: outside          # inside | outside
//	    peer: b                # outside: the listed peer that answers there
//	peers:                     # none by default
//	  - name: b
//	    domains: [b.example]   # domains or networks, or both
//	    networks: [198.51.100.0/24]
//	policy:                    # see package policy
//	  inside: off
//	  listed_peers: require
//	  unknown_peers: prefer
//	  rules:
//	    - name: bank
//	      from: {side: inside, network: 192.0.2.0/28, address: "bob@*"} # each may be left out
//	      to: {address: "*@bank.example"}
//	      mode: require        # require | prefer | off | refuse
//	crypto:
//	  groups: [x25519mlkem768, x25519] # the default: all there are
//	  suites: [AEAD_AES_256_GCM, AEAD_AES_128_GCM, AES_256_CM_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_80]
//	api:
//	  listen: 127.0.0.1:5080   # the default; or off
//	  token_file: token        # needed where listen is not loopback
//	log:
//	  level: info              # debug | info | warn | error
//	  format: text             # text | json
//
// Whatever else stands in the file is a problem, and all problems are reported
// together ([Errors]), each with its place and with what would be right. Anchors,
// aliases, merge keys, tags and further documents are not taken: a value that
// begins with a star or a square bracket stands in quotes.
package configs
