// A service as small as one can be, for the images of the tests: it serves, fetches, resolves, and sleeps.
//
//	service serve [ADDRESS]   answers /healthz, /file/PATH, /reaches/HOST:PORT, and everything else with the pod's name
//	service get URL           prints what a URL answers; exit 1 unless it is 2xx
//	service resolve NAME      prints the addresses of a name
//	service pause             does nothing, for ever: what holds a pod's namespaces
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	verb, argument := "serve", ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	if len(os.Args) > 2 {
		argument = os.Args[2]
	}
	if err := run(verb, argument); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(verb, argument string) error {
	switch verb {
	case "serve":
		return serve(argument)
	case "get":
		return get(argument)
	case "resolve":
		addresses, err := net.LookupHost(argument)
		for _, address := range addresses {
			fmt.Println(address)
		}
		return err
	case "pause":
		pause()
		return nil
	}
	return fmt.Errorf("unknown verb %q: serve, get, resolve or pause", verb)
}

func serve(address string) error {
	if address == "" {
		address = ":8080"
	}
	// Pods are told to end by a signal that the kernel does not deliver to a process 1 without a handler.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-stop; os.Exit(0) }()
	name, _ := os.Hostname()
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.Handle("/file/", http.StripPrefix("/file/", http.FileServer(http.Dir("/"))))
	// What a service is that needs another one: 503 when it cannot be reached.
	http.HandleFunc("/reaches/", func(w http.ResponseWriter, r *http.Request) {
		connection, err := net.DialTimeout("tcp", strings.TrimPrefix(r.URL.Path, "/reaches/"), 500*time.Millisecond)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		connection.Close()
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	return http.ListenAndServe(address, nil)
}

func get(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		// The parent of orphans in a pod that shares its process namespace.
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
