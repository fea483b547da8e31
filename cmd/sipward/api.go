package main

import (
	"github.com/spf13/cobra"

	"github.com/sipward/sipward/console"
)

// defaultAPI is where the ready-made configurations have the API.
const defaultAPI = "http://127.0.0.1:5080"

// apiFlags say which sipward is asked.
type apiFlags struct{ api, tokenFile, configFile string }

func (f *apiFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.api, "api", "", "`URL` of the API (default "+defaultAPI+", or what --config says)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "`FILE` with the token of the API")
	cmd.Flags().StringVarP(&f.configFile, "config", "c", "", "take the API's address and token file from this configuration `FILE`")
}

// client makes a client of the sipward that the flags name.
func (f apiFlags) client() (*console.Client, error) {
	url, tokenFile := f.api, f.tokenFile
	if f.configFile != "" {
		if f.api != "" {
			// The token of the configuration is for its own API alone.
			return nil, usage("--api and --config both say where the API is; give one of them")
		}
		cfg, err := loadConfig(f.configFile)
		switch {
		case err != nil:
			return nil, err
		case cfg.API.Off:
			return nil, usage("api.listen is off in %s, so nobody can look into this sipward; write an address there, such as 127.0.0.1:5080", cfg.File)
		case cfg.API.Listen.Port() == 0:
			return nil, usage("api.listen in %s leaves the port open; take the one that sipward run printed: --api http://%s:PORT", cfg.File, cfg.API.Listen.Addr())
		}
		url = apiURL(cfg.API.Listen)
		if tokenFile == "" {
			tokenFile = cfg.API.TokenFile
		}
	}
	if url == "" {
		url = defaultAPI
	}
	token := ""
	if tokenFile != "" {
		var err error
		if token, err = console.ReadToken(tokenFile); err != nil {
			return nil, &exitError{statusUsage, err}
		}
	}
	client, err := console.NewClient(url, token)
	if err != nil {
		return nil, &exitError{statusUsage, err}
	}
	return client, nil
}
