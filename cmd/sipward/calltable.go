package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/sas/attest"
)

// writeTable shows calls to a person: one row each for what is compared between
// calls, and below it what is read one by one.
func writeTable(out io.Writer, calls []b2bua.View) error {
	if len(calls) == 0 {
		_, err := fmt.Fprintln(out, "no calls")
		return err
	}
	// The lines in between are put in afterwards: tabwriter would take them for
	// the end of its columns.
	var rows bytes.Buffer
	w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tTO\tSTATE\tPROTECTION\tWORDS\tCODE\tTRUST")
	for _, c := range calls {
		cells := []string{c.From, c.To, c.State, c.Protection, c.SASWords, c.SASCode, c.Trust}
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(rows.String(), "\n"), "\n")
	var b strings.Builder
	fmt.Fprintln(&b, lines[0])
	for i, c := range calls {
		fmt.Fprintf(&b, "%s\n    %s\n", strings.TrimRight(lines[i+1], " "), crypto(c))
		for _, l := range c.Legs {
			fmt.Fprintf(&b, "    %s\n", packets(l))
		}
		if c.Says != "" {
			fmt.Fprintf(&b, "    who: %s\n", cell(who(c)))
		}
		fmt.Fprintf(&b, "    why: %s\n", cell(c.Reason))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// who says what is known of the other end.
func who(c b2bua.View) string {
	s := c.Says
	if c.Identity != "" {
		s += " (" + c.Identity + ", key " + attest.Short(attest.Value{Type: c.KeyType, Key: c.Key}) + ")"
	}
	return s
}

// cell is a value as it stands in a column, never empty.
func cell(s string) string {
	if s = clean(s); s == "" {
		return "-"
	}
	return s
}

// crypto names what protects a call.
func crypto(c b2bua.View) string {
	if c.Group == "" && c.Suite == "" {
		return "no key exchange"
	}
	return "group " + cell(c.Group) + ", suite " + cell(c.Suite)
}

// packets says what went over a leg; what never happened is left out.
func packets(l b2bua.LegView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", cell(l.Side), cell(l.Peer))
	if l.SDES != "" {
		fmt.Fprintf(&b, "SRTP with the phone, suite %s, ", cell(l.SDES))
	}
	fmt.Fprintf(&b, "packets in %d, out %d", l.PacketsIn, l.PacketsOut)
	for _, n := range []struct {
		what  string
		count uint64
	}{{"lost", l.Lost}, {"forged", l.DroppedAuth}, {"replayed", l.DroppedReplay}, {"from elsewhere", l.DroppedSource}} {
		if n.count > 0 {
			fmt.Fprintf(&b, ", %s %d", n.what, n.count)
		}
	}
	return b.String()
}

// writeEvent shows an event as one line.
func writeEvent(out io.Writer, e b2bua.Event) error {
	c := e.Call
	line := fmt.Sprintf("%s %s  %s -> %s  %s, %s", e.Time.Local().Format("15:04:05"), cell(strings.TrimPrefix(e.Type, "call-")), cell(c.From), cell(c.To), cell(c.State), cell(c.Protection))
	if c.SASWords != "" {
		line += fmt.Sprintf("  words: %s (%s)", cell(c.SASWords), cell(c.SASCode))
	}
	if c.Trust != "" && c.Trust != "none" {
		line += ", " + cell(c.Trust)
	}
	if c.Reason != "" {
		line += "  " + cell(c.Reason)
	}
	_, err := fmt.Fprintln(out, line)
	return err
}
