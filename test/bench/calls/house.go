package calls

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/store"
)

// callee is what all calls go to.
const callee = "*@b.example"

// unlimited lets one address begin what a site's phones do together.
func unlimited() b2bua.Limits {
	const many = 1 << 20
	return b2bua.Limits{Calls: many, CallsPerUser: many, CallsPerSource: many, RequestsPerUser: many, RequestsPerSource: many}
}

// HouseOptions say what a house is for.
type HouseOptions struct {
	At      netip.Addr // of both of its listeners
	Far     string     // URI of the sipward outside that has the callees; ""
	Phones  string     // URI of the phones inside that are the callees; ""
	State   string     // file for registrations; "": they are kept in memory
	Profile string     // file for a profile of all allocations; "": none
}

// Ready is what a house says when it takes calls.
type Ready struct {
	Inside, Outside netip.AddrPort
	Registered      int
	Loading         time.Duration // of the registrations
}

// State is what a house says of itself when asked, after its garbage is gone.
type State struct {
	Heap, Resident   uint64 // octets
	Goroutines       int
	Calls, Protected int
	Registered       int
}

// house is one sipward.
type house struct {
	proxy     *b2bua.Proxy
	media     *media.Engine
	registrar *registrar.Registrar
	state     store.Store // nil: in memory
	ready     Ready
}

// openHouse starts one. After an error nothing is left open.
func openHouse(o HouseOptions, log *slog.Logger) (h *house, err error) {
	h = &house{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	ro := registrar.Options{MaxBindings: 1 << 20, Log: log}
	if o.State != "" {
		if h.state, err = store.OpenFile(o.State); err != nil {
			return h, err
		}
		ro.Keeper = store.NewRecords(h.state, "bindings")
	}
	began := time.Now()
	if h.registrar, err = registrar.New(ro); err != nil {
		return h, err
	}
	h.ready.Loading, h.ready.Registered = time.Since(began), h.registrar.Len()

	pattern, err := route.ParsePattern(callee)
	if err != nil {
		return h, err
	}
	var routes []route.Route
	if o.Far != "" {
		routes = append(routes, route.Route{Match: pattern, To: o.Far, Side: route.Outside})
	}
	if o.Phones != "" {
		routes = append(routes, route.Route{Match: pattern, To: o.Phones, Side: route.Inside})
	}
	table, err := route.NewTable(routes)
	if err != nil {
		return h, err
	}
	rules, err := policy.New(policy.Rules{UnknownPeers: policy.Require, ListedPeers: policy.Require, Inside: policy.Off})
	if err != nil {
		return h, err
	}
	if h.media, err = media.NewEngine(media.Options{PortMin: 1024, PortMax: 65535, Log: log}); err != nil {
		return h, err
	}
	options := b2bua.Options{
		Routes: table, Policy: rules, Media: h.media, Limits: unlimited(), Registrar: h.registrar,
		Domains: []string{"a.example"}, UserAgent: "sipward", Log: log,
		// As a listed peer the other house is not slowed down as strangers are.
		Peer: func(string, netip.Addr) string { return "other house" },
	}
	for name, side := range map[string]policy.Side{"phones": policy.Inside, "internet": policy.Outside} {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.At, 0)))
		if err != nil {
			return h, err
		}
		conn.SetReadBuffer(4 << 20)
		options.Listeners = append(options.Listeners, b2bua.Listener{Name: name, Side: side, Packet: conn})
		if local := conn.LocalAddr().(*net.UDPAddr).AddrPort(); side == policy.Inside {
			h.ready.Inside = local
		} else {
			h.ready.Outside = local
		}
	}
	h.proxy, err = b2bua.New(options)
	return h, err
}

// close ends all calls.
func (h *house) close() {
	if h.proxy != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		h.proxy.Shutdown(ctx)
	}
	if h.media != nil {
		h.media.Close()
	}
	if h.state != nil {
		h.state.Close()
	}
}

// look is what the house is like now.
func (h *house) look() State {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := State{Heap: m.HeapAlloc, Resident: resident(), Goroutines: runtime.NumGoroutine(), Registered: h.registrar.Len()}
	for _, v := range h.proxy.Calls() {
		s.Calls++
		if v.Protection == "srtp" && v.State == "established" {
			s.Protected++
		}
	}
	return s
}

// Serve runs a house whose every line on in asks for its State. It writes JSON,
// Ready first, and ends with in.
func Serve(ctx context.Context, o HouseOptions, in io.Reader, out io.Writer, log *slog.Logger) error {
	if o.Profile != "" {
		runtime.MemProfileRate = 16 << 10
	}
	h, err := openHouse(o, log)
	if err != nil {
		return err
	}
	defer h.close()
	say := json.NewEncoder(out)
	if err := say.Encode(h.ready); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan() && ctx.Err() == nil; {
		if err := say.Encode(h.look()); err != nil {
			return err
		}
	}
	if o.Profile == "" {
		return nil
	}
	f, err := os.Create(o.Profile)
	if err != nil {
		return err
	}
	defer f.Close()
	runtime.GC()
	if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
		return fmt.Errorf("%s: %w", o.Profile, err)
	}
	return f.Close()
}
