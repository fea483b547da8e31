package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptGuess sends REGISTERs with wrong passwords for a user, and waits for the
// answer to each.
func scriptGuess(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 2, "guess COUNT USER")
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	conn, err := net.Dial("udp", ts.Getenv("INSIDE"))
	ts.Check(err)
	defer conn.Close()
	answer := make([]byte, 65535)
	for i := range count {
		_, err := fmt.Fprintf(conn, "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP %[1]v;branch=z9hG4bK%[2]d;rport\r\n"+
			"From: <sip:%[3]s@office.example>;tag=%[2]d\r\nTo: <sip:%[3]s@office.example>\r\nCall-ID: %[1]v\r\nCSeq: %[4]d REGISTER\r\n"+
			"Authorization: Digest username=\"%[3]s\", realm=\"office.example\", nonce=\"0\", uri=\"sip:office.example\", response=\"%[5]s\"\r\n"+
			"Content-Length: 0\r\n\r\n", conn.LocalAddr(), time.Now().UnixNano(), args[1], i+1, strings.Repeat("0", 32))
		ts.Check(err)
		ts.Check(conn.SetReadDeadline(time.Now().Add(patience)))
		n, err := conn.Read(answer)
		ts.Check(err)
		if status := strings.Fields(string(answer[:n])); len(status) < 2 || status[1] != "401" && status[1] != "403" {
			ts.Fatalf("a wrong password was answered\n%s", answer[:n])
		}
	}
}
