package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/record"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/store"
	"github.com/sipward/sipward/trust"
)

// consoleGrace is what answers of the console may take of the time that a
// shutdown has: the calls need the rest.
const consoleGrace = 300 * time.Millisecond

// advertiseWithin bounds the start where names have to be looked up for it.
const advertiseWithin = 10 * time.Second

// daemon is everything that a running sipward consists of.
type daemon struct {
	cfg       *configs.Config
	log       *slog.Logger
	started   time.Time
	sockets   []socket    // see opened
	mu        sync.Mutex  // guards sockets once the proxy runs: they move
	state     store.Store // nil: registrations end with the process
	stateFile string      // "" likewise
	signing   *signing
	memory    *trust.Memory
	phones    *phones      // nil where none can register
	api       net.Listener // nil where the configuration turns it off
	engine    *media.Engine
	tests     *tests         // nil without test addresses
	record    *record.Writer // nil where none is kept
	proxy     *b2bua.Proxy
	console   *console.Server
	served    chan struct{} // closed when the console serves no more
}

// assemble opens what the configuration names and starts it. After an error
// nothing is left open. registered, which may be nil, hears of each contact that a
// phone binds or takes back; it runs on the goroutine of the request and returns
// soon.
func assemble(cfg *configs.Config, log *slog.Logger, registered func(user, contact string, bound bool)) (d *daemon, err error) {
	d = &daemon{cfg: cfg, log: log, started: time.Now()}
	defer func() {
		if err != nil {
			d.Close()
			d = nil
		}
	}()
	suites, err := b2bua.Suites(cfg.Crypto.Suites...)
	if err != nil {
		return d, fmt.Errorf("crypto.suites: %w", err)
	}
	if d.sockets, err = openListeners(cfg); err != nil {
		return d, err
	}
	if err = d.advertise(net.DefaultResolver); err != nil {
		return d, err
	}
	if err = d.openAPI(); err != nil {
		return d, err
	}
	if d.state, d.stateFile, err = openState(cfg, log); err != nil {
		return d, err
	}
	if d.memory, err = openMemory(d.state); err != nil {
		return d, err
	}
	if d.signing, err = openSigning(cfg, log); err != nil {
		return d, err
	}
	if d.phones, err = openPhones(cfg, d.state, log); err != nil {
		return d, err
	}
	d.engine, err = media.NewEngine(media.Options{PortMin: cfg.Media.PortMin, PortMax: cfg.Media.PortMax, Log: log})
	if err != nil {
		return d, err
	}
	routes, err := d.openTests(suites)
	if err != nil {
		return d, err
	}
	policy, err := policy.New(d.rules())
	if err != nil {
		return d, err
	}
	table, err := route.NewTable(append(routes, cfg.StaticRoutes...))
	if err != nil {
		return d, err
	}
	listeners, err := d.listeners()
	if err != nil {
		return d, err
	}
	accounts, err := trunks(cfg)
	if err != nil {
		return d, err
	}
	o := b2bua.Options{
		Listeners:  listeners,
		Routes:     table,
		Policy:     policy,
		Peer:       cfg.PeerFor,
		Trusted:    cfg.Trusts,
		Media:      d.engine,
		Groups:     cfg.Crypto.Groups,
		Suites:     suites,
		Domains:    cfg.Registrar.Domains,
		Registered: registered,
		Emergency:  route.Emergency{Numbers: cfg.Emergency.Numbers, Target: cfg.EmergencyTarget()},
		Trunks:     accounts,
		Aliases:    cfg.Aliases(),
		Limits: b2bua.Limits{
			Calls:             cfg.Limits.Calls,
			CallsPerUser:      cfg.Limits.CallsPerUser,
			CallsPerSource:    cfg.Limits.CallsPerSource,
			RequestsPerUser:   float64(cfg.Limits.RequestsPerUser),
			RequestsPerSource: float64(cfg.Limits.RequestsPerSource),
		},
		Rekey:     b2bua.Rekey{Every: cfg.Crypto.Rekey.Every, Packets: cfg.Crypto.Rekey.Packets, MinInterval: cfg.Crypto.Rekey.MinInterval},
		Timers:    b2bua.Timers{Session: cfg.Calls.Session, AskAfter: cfg.Calls.AskAfterSilence, EndAfter: cfg.Calls.EndAfterSilence},
		UserAgent: "sipward", // without a version: it is told to strangers, too
		Log:       log,
	}
	d.signing.into(&o, cfg, d.memory)
	if d.phones != nil {
		o.Registrar, o.Auth = d.phones.registrar, d.phones.challenger
		if d.phones.users != nil {
			o.Users = d.phones.known
		}
	}
	if d.state != nil && cfg.PassesAccounts() {
		o.AccountsElsewhere = store.NewRecords(d.state, elsewhereBucket)
	}
	if cfg.Records != "" {
		if d.record, err = record.Open(record.Options{Dir: cfg.Records, Log: log}); err != nil {
			return d, fmt.Errorf("the record of calls cannot be kept: %w; %s", err, toChange(cfg, "records"))
		}
		o.Record = d.record
	}
	if d.proxy, err = b2bua.New(o); err != nil {
		return d, err
	}
	d.tests.behind(d.proxy)
	return d, d.serveAPI()
}

// listeners hands the open sockets to the proxy.
func (d *daemon) listeners() ([]b2bua.Listener, error) {
	var out []b2bua.Listener
	for _, s := range d.sockets {
		l := d.cfg.Listeners[s.listener]
		var secure *sip.TLSOptions
		if s.network == "tls" {
			var err error
			if secure, err = tlsOptions(l, d.log); err != nil {
				return nil, &exitError{statusUsage, err}
			}
		}
		out = append(out, b2bua.Listener{
			TLS:        secure,
			Name:       l.Name,
			Side:       l.Side,
			Packet:     s.packet,
			Stream:     s.stream,
			Advertise:  s.advertise,
			Networks:   l.Networks,
			PeersOnly:  l.Accept == configs.AcceptPeers,
			Moves:      mayMove(l),
			Identities: speaksFor(l),
			Accounts:   b2bua.Accounts(l.Accounts),
			SDES:       sdesOf(l),
			DTMF:       dtmfOf(l),
		})
	}
	return out, nil
}

// sdesOf says what phones of a listener are offered when they are called.
func sdesOf(l configs.Listener) b2bua.SDES {
	if l.SDES == configs.SDESLearn {
		return b2bua.SDESLearn
	}
	return b2bua.SDES(l.SDES)
}

// dtmfOf says how phones of a listener send and take digits.
func dtmfOf(l configs.Listener) b2bua.DTMF {
	if l.DTMF == configs.DTMFInfo {
		return b2bua.DTMFInfo
	}
	return b2bua.DTMFPass
}

// speaksFor says for whom phones of a listener speak without a password.
func speaksFor(l configs.Listener) func(string) bool {
	if len(l.Identities) == 0 {
		return nil
	}
	return l.SpeaksFor
}

// advertise finds out what the messages of each socket name as their address.
func (d *daemon) advertise(l configs.AddressLookup) error {
	ctx, cancel := context.WithTimeout(context.Background(), advertiseWithin)
	defer cancel()
	for i := range d.sockets {
		s := &d.sockets[i]
		a := d.cfg.Listeners[s.listener].Advertise
		if a.Auto() {
			continue // the zero value, which stands for the socket's own
		}
		if s.network == "tls" && len(d.cfg.Listeners[s.listener].Transports) > 1 {
			a.Port = 0 // the one that is given is of the other transports
		}
		var err error
		if s.advertise, err = configs.ResolveAdvertise(ctx, l, a, s.addr); err != nil {
			return fmt.Errorf("the address of listener %s that others are told is not known: %w; %s", d.cfg.Listeners[s.listener].Name, err, toChange(d.cfg, fmt.Sprintf("listeners[%d].advertise", s.listener)))
		}
	}
	return nil
}

// opened are the sockets as they are now.
func (d *daemon) opened() []socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sockets)
}

// socketsOf are those of some transports of a listener, in the order of the
// transports.
func (d *daemon) socketsOf(listener int, transports []string) (found []socket) {
	for _, t := range transports {
		for _, s := range d.opened() {
			if s.listener == listener && s.network == t {
				found = append(found, s)
			}
		}
	}
	return found
}

// replace puts a socket in another's place.
func (d *daemon) replace(old, s socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.sockets {
		if d.sockets[i].listener == old.listener && d.sockets[i].network == old.network {
			d.sockets[i] = s
		}
	}
}

func (d *daemon) openAPI() error {
	if d.cfg.API.Off {
		return nil
	}
	addr := d.cfg.API.Listen
	s, err := open("tcp", addr)
	if err != nil {
		return cannotListen(d.cfg, "api.listen", "tcp", addr, err)
	}
	d.api = s.stream
	return nil
}

// serveAPI starts the console. Calls go on should it fail later.
func (d *daemon) serveAPI() error {
	if d.api == nil {
		return nil
	}
	server, err := console.New(console.Options{
		Source:    d.proxy,
		Counters:  func() console.Counters { return consoleCounters(d.proxy.Counters()) },
		Status:    d.status,
		Unblock:   d.proxy.Unblock,
		SaySAS:    d.proxy.SaySAS,
		Trust:     remembered{d.memory},
		Listen:    d.api.Addr().String(),
		TokenFile: d.cfg.API.TokenFile,
		Version:   version(),
		Log:       d.log,
	})
	if err != nil {
		return &exitError{statusUsage, err}
	}
	d.console, d.served = server, make(chan struct{})
	go func() {
		defer close(d.served)
		if err := server.Serve(d.api); err != nil {
			d.log.Error("the API has failed, calls go on", "error", err)
		}
	}()
	return nil
}

// status says how the daemon is, but for its calls, which the console counts.
func (d *daemon) status() console.Status {
	s := console.Status{Version: version(), Started: d.started, Blocked: d.proxy.Blocked(), Trunks: d.proxy.Trunks()}
	for _, sock := range d.opened() {
		l := d.cfg.Listeners[sock.listener]
		s.Listeners = append(s.Listeners, console.ListenerStatus{Name: l.Name, Side: string(l.Side), Network: sock.network, Address: sock.addr.String(), Advertise: sock.shown().String(), Moved: sock.moved})
	}
	if d.phones != nil {
		n := len(d.phones.registrar.All())
		s.Phones = &n
	}
	s.StateFile = d.stateFile
	return s
}

// consoleCounters gives the proxy's figures the names of the console.
func consoleCounters(c b2bua.Counters) console.Counters {
	return console.Counters{
		CallsTotal:        c.Total,
		CallsProtected:    c.Protected,
		CallsRefused:      c.Refused,
		CallsFailed:       c.Failed,
		CallsActive:       c.Active,
		Subscriptions:     c.Subscriptions,
		Dialogs:           c.Dialogs,
		StrangersAnswered: c.StrangersAnswered,
		StrangersDropped:  c.StrangersDropped,
		MessagesMalformed: c.MalformedCount,
	}
}

// APIURL is where the console is asked, "" where there is none. For an address
// that stands for all of this machine's it names the one that always works here.
func (d *daemon) APIURL() string {
	if d.api == nil {
		return ""
	}
	addr, err := netip.ParseAddrPort(d.api.Addr().String())
	if err != nil {
		return "http://" + d.api.Addr().String()
	}
	return apiURL(addr)
}

func apiURL(addr netip.AddrPort) string {
	switch ip := addr.Addr().Unmap(); {
	case ip == netip.IPv4Unspecified():
		addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
	case ip == netip.IPv6Unspecified():
		addr = netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())
	}
	return "http://" + addr.String()
}

// Shutdown ends the console, then the calls with BYE, and gives the sockets and
// the media back. Calls whose far ends have not answered when ctx is done are
// given up; the error says so.
func (d *daemon) Shutdown(ctx context.Context) error {
	var errs []error
	if d.console != nil {
		grace, cancel := context.WithTimeout(ctx, consoleGrace)
		if err := d.console.Shutdown(grace); err != nil {
			d.log.Debug("an answer of the API was cut off", "error", err)
		}
		cancel()
		<-d.served
	}
	if d.api != nil {
		d.api.Close()
	}
	if d.proxy != nil {
		if err := d.proxy.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("not every far end has answered the BYE: %w", err))
		}
	}
	if d.record != nil {
		errs = append(errs, d.record.Close())
	}
	for _, s := range d.opened() {
		s.close() // the proxy has closed those that it took
	}
	if d.phones != nil {
		d.phones.close()
	}
	if d.state != nil {
		if err := d.state.Close(); err != nil {
			d.log.Error("closing the state file", "error", err)
		}
	}
	d.tests.close()
	if d.signing != nil {
		d.signing.Close()
	}
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	return errors.Join(errs...)
}

// Close ends everything without waiting for the far ends of calls.
func (d *daemon) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
