package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"os/exec"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// allowed is the mark of a packet that a policy lets through; kube-proxy uses 0x4000 and 0x8000.
const allowed = "0x10000/0x10000"

// policies enforces NetworkPolicies for the pods of one node: every change of a policy, pod or namespace writes the
// whole set of rules anew, as one transaction, into chains of the mangle table, which nobody else uses.
type policies struct {
	node      string
	nameTo    string
	factories informers.SharedInformerFactory
	// The rules under way.
	chains, rules *bytes.Buffer
	written       string
}

func newPoliciesCommand() *cobra.Command {
	p := &policies{}
	var config string
	command := &cobra.Command{Use: "policies", RunE: func(*cobra.Command, []string) error {
		settings, err := clientcmd.BuildConfigFromFlags("", config)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(settings)
		if err != nil {
			return err
		}
		p.factories = informers.NewSharedInformerFactory(client, 0)
		return p.run(context.Background())
	}}
	command.Flags().StringVar(&config, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&p.node, "node", "", "the node's name")
	command.Flags().StringVar(&p.nameTo, "name-server", "", "the address that counts as a pod of kube-system labelled k8s-app=kube-dns")
	return command
}

func (p *policies) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	note := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: note, DeleteFunc: note, UpdateFunc: func(_, object any) { note(object) },
	}
	for _, informer := range []cache.SharedIndexInformer{
		p.factories.Core().V1().Pods().Informer(),
		p.factories.Core().V1().Namespaces().Informer(),
		p.factories.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	p.factories.Start(ctx.Done())
	p.factories.WaitForCacheSync(ctx.Done())
	for range changed {
		if err := p.write(); err != nil {
			klog.ErrorS(err, "policies not written")
			time.Sleep(time.Second)
			note(nil)
		}
		// Changes come in bursts.
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// write brings the node's rules to what the API server says.
func (p *policies) write() error {
	p.chains, p.rules = &bytes.Buffer{}, &bytes.Buffer{}
	p.chain("DAVIT-POLICY")
	p.rule("DAVIT-POLICY", "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN")
	all, err := p.factories.Networking().V1().NetworkPolicies().Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	pods := p.pods()
	for _, pod := range pods {
		if pod.Spec.NodeName == p.node && len(all) > 0 {
			p.pod(pod, pods, all, network.PolicyTypeIngress)
			p.pod(pod, pods, all, network.PolicyTypeEgress)
		}
	}
	text := "*mangle\n" + p.chains.String() + p.rules.String() + "COMMIT\n"
	if text == p.written {
		return nil
	}
	restore := exec.Command("iptables-restore", "--wait", "--noflush")
	restore.Stdin = strings.NewReader(text)
	if output, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s\n%s", err, output, text)
	}
	if exec.Command("iptables", "--wait", "-t", "mangle", "-C", "FORWARD", "-j", "DAVIT-POLICY").Run() != nil {
		if err := command("iptables", "--wait", "-t", "mangle", "-I", "FORWARD", "-j", "DAVIT-POLICY"); err != nil {
			return err
		}
	}
	p.written = text
	return nil
}

// pods are all that have an address of their own, and the name server, which is no pod here but is one elsewhere.
func (p *policies) pods() []*core.Pod {
	found := []*core.Pod{{
		ObjectMeta: meta.ObjectMeta{Namespace: meta.NamespaceSystem, Labels: map[string]string{"k8s-app": "kube-dns"}},
		Status:     core.PodStatus{PodIP: p.nameTo},
	}}
	for _, object := range p.factories.Core().V1().Pods().Informer().GetStore().List() {
		pod := object.(*core.Pod)
		over := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !over {
			found = append(found, pod)
		}
	}
	// The same order gives the same text, which need not be written again.
	sort.Slice(found, func(i, j int) bool { return found[i].Status.PodIP < found[j].Status.PodIP })
	return found
}

// pod writes the rules of one pod in one direction, if a policy selects it for that.
func (p *policies) pod(pod *core.Pod, pods []*core.Pod, all []*network.NetworkPolicy, direction network.PolicyType) {
	chain, mine, theirs := "DAVIT-I-", "-d", "-s"
	if direction == network.PolicyTypeEgress {
		chain, mine, theirs = "DAVIT-E-", "-s", "-d"
	}
	chain += digest(pod.Status.PodIP)
	isolated := false
	for _, policy := range all {
		if policy.Namespace != pod.Namespace || !applies(policy, direction) || !selects(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		if !isolated {
			isolated = true
			p.chain(chain)
			p.rule("DAVIT-POLICY", mine+" "+pod.Status.PodIP+" -j "+chain)
			p.rule(chain, "-j MARK --set-xmark 0x0/0x10000")
		}
		if direction == network.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				p.allow(chain, theirs, policy.Namespace, rule.From, rule.Ports, pod, pods)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				p.allow(chain, theirs, policy.Namespace, rule.To, rule.Ports, nil, pods)
			}
		}
	}
	if isolated {
		p.rule(chain, "-m mark ! --mark "+allowed+" -j DROP")
	}
}

// allow marks what one rule of a policy lets through. `target` is the pod whose named ports are meant; in the other
// direction each peer has its own.
func (p *policies) allow(chain, theirs, namespace string, peers []network.NetworkPolicyPeer, ports []network.NetworkPolicyPort, target *core.Pod, pods []*core.Pod) {
	mark := " -j MARK --set-xmark " + allowed
	if len(peers) == 0 {
		for _, port := range matches(ports, target) {
			p.rule(chain, port+mark)
		}
		return
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			block := chain
			if len(peer.IPBlock.Except) > 0 {
				block = "DAVIT-B-" + digest(fmt.Sprint(chain, peer.IPBlock, p.rules.Len()))
				p.chain(block)
				for _, except := range peer.IPBlock.Except {
					p.rule(block, theirs+" "+except+" -j RETURN")
				}
				p.rule(chain, "-j "+block)
			}
			for _, port := range matches(ports, target) {
				p.rule(block, theirs+" "+peer.IPBlock.CIDR+port+mark)
			}
			continue
		}
		for _, other := range pods {
			if !p.isPeer(peer, namespace, other) {
				continue
			}
			named := target
			if named == nil {
				named = other
			}
			for _, port := range matches(ports, named) {
				p.rule(chain, theirs+" "+other.Status.PodIP+port+mark)
			}
		}
	}
}

func (p *policies) isPeer(peer network.NetworkPolicyPeer, namespace string, pod *core.Pod) bool {
	if peer.NamespaceSelector == nil {
		if pod.Namespace != namespace {
			return false
		}
	} else {
		its, err := p.factories.Core().V1().Namespaces().Lister().Get(pod.Namespace)
		if err != nil || !selects(peer.NamespaceSelector, its.Labels) {
			return false
		}
	}
	return peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)
}

// matches are the conditions on a packet, one for each port; a single empty one means any.
func matches(ports []network.NetworkPolicyPort, named *core.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var found []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := " -p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			found = append(found, match)
		case port.Port.StrVal == "" && port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		case port.Port.StrVal == "":
			found = append(found, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		case named != nil:
			for _, container := range named.Spec.Containers {
				for _, has := range container.Ports {
					if has.Name == port.Port.StrVal && (has.Protocol == protocol || has.Protocol == "") {
						found = append(found, fmt.Sprintf("%s --dport %d", match, has.ContainerPort))
					}
				}
			}
		}
	}
	return found
}

func applies(policy *network.NetworkPolicy, direction network.PolicyType) bool {
	for _, has := range policy.Spec.PolicyTypes {
		if has == direction {
			return true
		}
	}
	return false
}

func selects(selector *meta.LabelSelector, of map[string]string) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}

func digest(text string) string {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%016x", hash.Sum64())
}

func (p *policies) chain(name string)       { fmt.Fprintf(p.chains, ":%s - [0:0]\n", name) }
func (p *policies) rule(chain, rest string) { fmt.Fprintf(p.rules, "-A %s %s\n", chain, rest) }
