package calls

import (
	"net/url"
	"strings"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// withColleagues lets both houses have one more phone.
func withColleagues(o worldOptions) worldOptions {
	o.routesA = append(o.routesA, "carol", "sip:carol@"+carolPhone.String(), "inside")
	before := o.optionsB
	o.optionsB = func(b *b2bua.Options) {
		if before != nil {
			before(b)
		}
		b.Routes = tableOf("bob", "sip:bob@"+bobPhone.String(), "inside", "dave", "sip:dave@"+davePhone.String(), "inside",
			"*@a.example", "sip:"+outsideA.String(), "outside")
	}
	return o
}

func tableOf(routes ...string) *route.Table {
	var rs []route.Route
	for i := 0; i < len(routes); i += 3 {
		rs = append(rs, route.Route{Match: route.MustPattern(routes[i]), To: routes[i+1], Side: routes[i+2]})
	}
	table, err := route.NewTable(rs)
	if err != nil {
		panic(err)
	}
	return table
}

// refers lets a phone keep what it is told about its transfers.
func (p *phone) refers() *[]string {
	told := new([]string)
	within := func(tx *sip.ServerTx) bool {
		if tx.Request.Method == "BYE" && tx.Request.CallID() != p.dialog.CallID() { // of its other call
			tx.Reply(200, "")
			p.event("other bye")
			return true
		}
		if tx.Request.Method != "NOTIFY" {
			return false
		}
		r := tx.Request
		if r.ContentType() != "message/sipfrag" || !strings.HasPrefix(r.Get("Event"), "refer") || !r.Has("Contact") {
			p.t.Errorf("NOTIFY %s", r.Bytes())
		}
		state, _, _ := strings.Cut(r.Get("Subscription-State"), ";")
		tx.Reply(200, "")
		line, _, _ := strings.Cut(string(r.Body), "\r\n")
		*told = append(*told, line+" "+state)
		p.event("told " + line)
		return true
	}
	set := make(chan bool)
	p.queue.Post(func() { p.within = within; close(set) })
	<-set
	return told
}

// refer asks for a transfer and returns the final status.
func (p *phone) refer(to string, fields ...sip.Field) string {
	p.t.Helper()
	p.do(func(d *sipDialog) {
		d.Do("REFER", "", nil, func(res *sip.Message, err error) {
			switch {
			case err != nil:
				p.event("referred " + err.Error())
			case res.Status >= 200:
				p.answer = res
				p.event("referred " + itoa(res.Status))
			}
		}, append([]sip.Field{{Name: "Refer-To", Value: to}}, fields...)...)
	})
	return strings.TrimPrefix(p.await("referred"), "referred ")
}

// hear says whether two phones hear all of each other.
func (w *world) hear(one, other *phone) {
	t := w.t
	t.Helper()
	time.Sleep(time.Second)
	for _, p := range [][2]*phone{{one, other}, {other, one}} {
		before := len(p[1].heard)
		w.seq += 20 // a phone that says a number twice is not heard twice
		p[0].say(10, w.seq, 0xA1)
		time.Sleep(500 * time.Millisecond)
		if n := len(p[1].heard) - before; n != 10 {
			t.Errorf("%s heard %d of 10 packets of %s", p[1].name, n, p[0].name)
		}
	}
}

// second is another call of a phone that has one already; it returns the dialog
// of the first.
func (p *phone) second(to string) *sipDialog {
	p.t.Helper()
	first := make(chan *sipDialog, 1)
	p.do(func(d *sipDialog) { first <- d })
	d := <-first
	p.call(to)
	p.await("answered")
	return d
}

// referOn is refer on a dialog of the phone's, with Replaces of its newest one.
func (p *phone) referOn(d *sipDialog, to string) string {
	p.t.Helper()
	p.do(func(newest *sipDialog) {
		p.dialog = d
		r := newest.Replaces()
		to = "<" + to + "?Replaces=" + url.QueryEscape(r.String()) + ">"
	})
	synctest.Wait()
	return p.refer(to)
}
