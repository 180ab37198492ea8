package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/auth"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

// question is one call of kubectl, and answer what became of it; tests/cluster/kubectl is who asks.
type question struct {
	Arguments []string
	Input     []byte
}

type answer struct {
	Output, Complaints []byte
	Code               int
}

// ended is how kubectl gives up: where it would end the process.
type ended struct {
	message string
	code    int
}

// serveKubectl runs kubectl for whoever asks on a socket. A process of this size takes a tenth of a second of processor
// time to start, another kubectl no part of that, and tests look often.
func serveKubectl(socket string) error {
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	kubectlutil.BehaviorOnFatal(func(message string, code int) { panic(ended{message, code}) })
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			var asked question
			if json.NewDecoder(connection).Decode(&asked) == nil {
				_ = json.NewEncoder(connection).Encode(run(asked))
			}
		}()
	}
}

func run(asked question) (got answer) {
	var output, complaints bytes.Buffer
	defer func() {
		if end := recover(); end != nil {
			end, known := end.(ended)
			if !known {
				end = ended{fmt.Sprint(end), 1}
			}
			if len(end.message) > 0 && end.message[len(end.message)-1] != '\n' {
				end.message += "\n"
			}
			complaints.WriteString(end.message)
			got.Code = end.code
		}
		got.Output, got.Complaints = output.Bytes(), complaints.Bytes()
	}()
	// What kubectl is given as its input it would read from that of this process.
	file, err := os.CreateTemp("", "kubectl-*.yaml")
	kubectlutil.CheckErr(err)
	defer os.Remove(file.Name())
	_, err = file.Write(asked.Input)
	kubectlutil.CheckErr(errors.Join(err, file.Close()))
	for at, word := range asked.Arguments {
		if word == "-" {
			asked.Arguments[at] = file.Name()
		}
	}
	streams := genericiooptions.IOStreams{In: bytes.NewReader(nil), Out: &output, ErrOut: &complaints}
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50)
	command := kubectl.NewKubectlCommand(kubectl.KubectlOptions{
		Arguments: append([]string{"kubectl"}, asked.Arguments...), ConfigFlags: flags, IOStreams: streams,
	})
	if question, _, err := command.Find([]string{"auth", "can-i"}); err == nil {
		question.Run = func(_ *cobra.Command, arguments []string) { may(flags, streams, question.Flags(), arguments) }
	}
	command.SetArgs(asked.Arguments)
	command.SetOut(&output)
	command.SetErr(&complaints)
	command.SilenceUsage, command.SilenceErrors = true, true
	if err := command.Execute(); err != nil {
		kubectlutil.CheckErr(err)
	}
	return got
}

// may is `auth can-i`, whose own end with a "no" is that of the process.
func may(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, flags *pflag.FlagSet, arguments []string) {
	options := &auth.CanIOptions{IOStreams: streams}
	options.Subresource, _ = flags.GetString("subresource")
	options.AllNamespaces, _ = flags.GetBool("all-namespaces")
	options.Quiet, _ = flags.GetBool("quiet")
	kubectlutil.CheckErr(options.Complete(kubectlutil.NewFactory(kubectlutil.NewMatchVersionFlags(config)), arguments))
	kubectlutil.CheckErr(options.Validate())
	allowed, err := options.RunAccessCheck()
	kubectlutil.CheckErr(err)
	if !allowed {
		panic(ended{code: 1})
	}
}
