package main

import (
	"context"
	"log/slog"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip/auth"
	"github.com/sipward/sipward/store"
)

// phones is what a sipward knows of its own phones: who may register, who has, and
// where that is kept.
type phones struct {
	registrar  *registrar.Registrar
	challenger *auth.Challenger // nil: nobody is asked for a password
	users      *auth.Users      // nil likewise
	cancel     context.CancelFunc
	done       chan struct{} // closed when the registrar sweeps no more
}

// openPhones opens what the configuration says about phones; nil where none may
// register.
func openPhones(cfg *configs.Config, state store.Store, log *slog.Logger) (p *phones, err error) {
	r := cfg.Registrar
	if !r.On {
		return nil, nil
	}
	p = &phones{}
	defer func() {
		if err != nil {
			p.close()
			p = nil
		}
	}()
	if r.Users != "" {
		if err := p.openUsers(r, log); err != nil {
			return p, err
		}
	}
	o := registrar.Options{MaxExpires: r.MaxExpires, Log: log}
	if state != nil {
		o.Keeper = store.NewRecords(state, bindingsBucket)
	}
	if p.registrar, err = registrar.New(o); err != nil {
		return p, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.registrar.Run(ctx)
	}()
	return p, nil
}

func (p *phones) openUsers(r configs.Registrar, log *slog.Logger) error {
	realm := r.Domains[0]
	users, err := auth.OpenUsers(r.Users, realm)
	if err != nil {
		return &exitError{statusUsage, err}
	}
	for _, w := range users.Warnings() {
		log.Warn("users", "note", w)
	}
	users.OnReload(func(err error) {
		if err != nil {
			log.Error("the changed users file cannot be used; the users from before stay", "error", err)
			return
		}
		log.Info("the users file was read again", "users", users.Len())
	})
	p.users = users
	var algorithms []auth.Algorithm
	for _, a := range r.Algorithms {
		algorithms = append(algorithms, auth.Algorithm(a))
	}
	p.challenger, err = auth.New(auth.Options{Realm: realm, Users: users, Algorithms: algorithms})
	return err
}

// known says whether there is an account of this name.
func (p *phones) known(user string) bool {
	for _, a := range []auth.Algorithm{auth.SHA256, auth.MD5, auth.SHA512256} {
		if _, ok := p.users.HA1(user, a); ok {
			return true
		}
	}
	return false
}

// close comes after the proxy's end: it registers phones until then.
func (p *phones) close() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
}
