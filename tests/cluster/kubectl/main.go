// kubectl as tests call it: has the server beside it do what is asked, and is the real one where there is none, or where
// somebody wants to talk with what runs. Beside it lie `kubectl.socket` and `kubernetes`, the program that is everything.
package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// asked are the verbs that read their input to its end, if at all, and then answer.
var asked = []string{
	"annotate", "apply", "auth", "config", "cordon", "create", "delete", "describe", "get", "label", "patch", "replace",
	"rollout", "scale", "taint", "uncordon", "wait",
}

func main() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	folder, arguments := filepath.Dir(self), os.Args[1:]
	connection, err := net.Dial("unix", filepath.Join(folder, "kubectl.socket"))
	if err != nil || !answers(arguments) {
		program := filepath.Join(folder, "kubernetes")
		panic(syscall.Exec(program, append([]string{program, "kubectl"}, arguments...), os.Environ()))
	}
	var input []byte
	if reads(arguments) {
		if input, err = io.ReadAll(os.Stdin); err != nil {
			panic(err)
		}
	}
	if err := json.NewEncoder(connection).Encode(map[string]any{"Arguments": arguments, "Input": input}); err != nil {
		panic(err)
	}
	var got struct {
		Output, Complaints []byte
		Code               int
	}
	if err := json.NewDecoder(connection).Decode(&got); err != nil {
		panic(err)
	}
	os.Stdout.Write(got.Output)
	os.Stderr.Write(got.Complaints)
	os.Exit(got.Code)
}

// answers says whether the server may run it: it has another folder, and nobody to talk with.
func answers(arguments []string) bool {
	verb := slices.IndexFunc(arguments, func(word string) bool { return slices.Contains(asked, word) })
	if verb < 0 {
		return false
	}
	for at, word := range arguments {
		file := (word == "-f" || word == "-k" || word == "--filename") && at+1 < len(arguments)
		if file && arguments[at+1] != "-" && !filepath.IsAbs(arguments[at+1]) {
			return false
		}
	}
	// Options with a value stand before the verb: `exec` may have one of these words in the command that it runs.
	return !slices.Contains(arguments, "exec") && !slices.Contains(arguments, "--watch") && !slices.Contains(arguments, "-w")
}

func reads(arguments []string) bool {
	return slices.Contains(arguments, "-")
}
