package b2bua

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// accountRecord is what the keeper holds for an account elsewhere, as JSON. The
// token is its key.
type accountRecord struct {
	Registrar string     `json:"registrar"` // as in accountName
	AOR       string     `json:"aor"`
	Instance  string     `json:"instance,omitempty"` // where the contact does not tell phones apart
	Contact   string     `json:"contact"`
	Phone     flowRecord `json:"phone"`
	Path      []string   `json:"path,omitempty"`
	Services  []string   `json:"services,omitempty"`
	Host      string     `json:"host"` // the way to the registrar
	Port      int        `json:"port,omitempty"`
	Network   string     `json:"network,omitempty"`
	Kept      flowRecord `json:"kept"`    // the flow to the registrar
	Expires   int64      `json:"expires"` // milliseconds since 1970
}

type flowRecord struct {
	Network  string         `json:"network"`
	Listener string         `json:"listener"`
	Remote   netip.AddrPort `json:"remote"`
}

// maxRecord bounds a record in octets; real ones are below 1000.
const maxRecord = 64 << 10

func recordOf(f sip.Flow) flowRecord {
	return flowRecord{f.Network(), f.Listener().Name, f.Remote()}
}

func encodeAccount(name accountName, b binding, expires time.Time) ([]byte, error) {
	r := accountRecord{Registrar: name.registrar, AOR: b.aor, Contact: b.contact, Phone: recordOf(b.flow), Path: b.path, Services: b.services,
		Host: b.way.Host, Port: b.way.Port, Network: b.way.Network, Kept: recordOf(b.registrar), Expires: expires.UnixMilli()}
	if name.phone != b.contact {
		r.Instance = name.phone
	}
	value, err := json.Marshal(r)
	if err == nil && len(value) > maxRecord {
		err = errors.New("the registration is too long to be kept")
	}
	return value, err
}

var errRecord = errors.New("it is not of this sipward's making")

// decodeAccount reads a record and refuses one that encodeAccount could not
// have written, or whose listeners are no longer there.
func (p *Proxy) decodeAccount(token string, value []byte, now time.Time) (*account, error) {
	var r accountRecord
	if len(value) > maxRecord {
		return nil, errRecord
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	aor, err := sip.ParseURI(r.AOR)
	if err != nil || aor.AOR() != r.AOR || !callable(aor) {
		return nil, errRecord
	}
	if c, err := sip.ParseURI(r.Contact); err != nil || c.String() != r.Contact || !callable(c) || !isToken(token) {
		return nil, errRecord
	}
	for _, set := range [][]string{r.Path, r.Services} {
		if kept, err := routeSet(set); err != nil || !slices.Equal(kept, set) {
			return nil, errRecord
		}
	}
	phone, kept := p.listenerOfRecord(r.Phone, policy.Inside), p.listenerOfRecord(r.Kept, policy.Outside)
	if phone == nil || kept == nil || r.Registrar == "" || r.Host == "" {
		return nil, errors.New("its listener is not there any more")
	}
	name := accountName{registrar: r.Registrar, aor: canonical(aor), phone: r.Contact}
	if r.Instance != "" {
		name.phone = r.Instance
	}
	expires := time.UnixMilli(r.Expires)
	if last := now.Add(longestGrant); expires.After(last) {
		expires = last // the clock was set back
	}
	way := route.Target{Host: r.Host, Port: r.Port, Network: r.Network, Side: route.Outside}
	return &account{token: token, name: name, granted: true, expires: expires, binding: binding{
		aor: r.AOR, contact: r.Contact, flow: phone.sip.Flow(r.Phone.Remote), path: r.Path, services: r.Services,
		way: way, registrar: kept.flowTo(route.Hop{Network: r.Kept.Network, Addr: r.Kept.Remote}, r.Host),
	}}, nil
}

// isToken says whether a text could be one that take has drawn.
func isToken(s string) bool {
	return len(s) == 17 && s[0] == 's' && !slices.ContainsFunc([]byte(s), func(c byte) bool { return (c < 'a' || c > 'z') && (c < '2' || c > '7') })
}

func (p *Proxy) listenerOfRecord(f flowRecord, side policy.Side) *listener {
	for _, l := range p.listeners {
		if l.Side == side && l.sip.Name == f.Listener && l.sip.Network == f.Network && f.Remote.Port() != 0 && l.sip.Local().Addr().Is4() == f.Remote.Addr().Unmap().Is4() {
			return l
		}
	}
	return nil
}

// restoreAccounts brings back what was kept. Records that cannot be used, and
// those that have ended, are dropped.
func (p *Proxy) restoreAccounts(now time.Time) error {
	u := p.up
	if u.keeper == nil {
		return nil
	}
	var dropped []string
	err := u.keeper.Load(func(token string, value []byte) error {
		a, err := p.decodeAccount(token, value, now)
		if err != nil {
			p.log.Warn("a registration elsewhere cannot be used any more; its phone has to register again", "error", err)
		}
		if err != nil || !a.expires.After(now) {
			dropped = append(dropped, token)
			return nil
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if len(u.byToken) >= maxAccounts || len(u.byAOR[a.name.aor]) >= maxContacts || u.byName[a.name] != nil {
			dropped = append(dropped, token)
			return nil
		}
		u.alive.hold(a.registrar)
		u.add(a)
		return nil
	})
	if err != nil || len(dropped) == 0 {
		return err
	}
	return u.keeper.Delete(dropped...)
}
