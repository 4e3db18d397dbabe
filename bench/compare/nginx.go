package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// nginxConfig is nginx's page "WebSocket proxying", with TLS as its page "Configuring
// HTTPS servers" has it. A worker for each processor, and as many connections as fit.
const nginxConfig = `
worker_processes auto;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 60000; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s ssl backlog=4096;
		ssl_certificate %[3]s;
		ssl_certificate_key %[4]s;
		location / {
			proxy_pass http://%[5]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_set_header Host $http_host;
			proxy_read_timeout 3600s;
		}
	}
}
`

// serveNginx runs Lectern without TLS, and nginx with it in front. The bench adds up
// what both use.
func serveNginx(at place, lectern string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "compare-nginx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	behind := "127.0.0.2" + at.addr[len("127.0.0.1"):] // the same port of another address
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, at.addr, at.cert, at.key, behind), 0o600); err != nil {
		return err
	}
	ended := make(chan error, 2)
	for _, line := range [][]string{
		{lectern, "serve", "--addr", behind, "--admin-addr", "", "--max-connections-per-address", "1000000"},
		{"nginx", "-p", dir, "-c", file, "-g", "daemon off;"},
	} {
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { ended <- cmd.Wait() }()
	}
	err = <-ended
	if ctx.Err() == nil {
		return fmt.Errorf("nginx or lectern ended: %w", err)
	}
	<-ended
	return nil
}
