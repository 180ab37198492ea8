package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	provisioner  = "davit.test/node-local"
	selectedNode = "volume.kubernetes.io/selected-node"
	wantedBy     = "volume.kubernetes.io/storage-provisioner"
	madeBy       = "pv.kubernetes.io/provisioned-by"
)

// volumes runs on one node and makes the volumes of claims whose pods were scheduled there. A volume is a file
// system of the claimed size in a file on the node's own disk, so that it can be full and can be on no other node.
type volumes struct {
	client kubernetes.Interface
	node   string
	folder string
}

func newVolumesCommand() *cobra.Command {
	v := &volumes{}
	var config string
	command := &cobra.Command{Use: "volumes", RunE: func(*cobra.Command, []string) error {
		settings, err := clientcmd.BuildConfigFromFlags("", config)
		if err != nil {
			return err
		}
		if v.client, err = kubernetes.NewForConfig(settings); err != nil {
			return err
		}
		return v.run(context.Background())
	}}
	command.Flags().StringVar(&config, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&v.node, "node", "", "the node's name")
	command.Flags().StringVar(&v.folder, "folder", "", "where its volumes lie")
	return command
}

func (v *volumes) run(ctx context.Context) error {
	// What failed is tried again at the next round over everything known, two seconds later.
	factory := informers.NewSharedInformerFactory(v.client, 2*time.Second)
	handle := func(object any) {
		var err error
		switch object := object.(type) {
		case *core.PersistentVolumeClaim:
			err = v.provide(ctx, object)
		case *core.PersistentVolume:
			err = v.remove(ctx, object)
		}
		if err != nil {
			klog.ErrorS(err, "volume not handled", "object", klog.KObj(object.(meta.Object)))
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, object any) { handle(object) }}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().PersistentVolumeClaims().Informer(),
		factory.Core().V1().PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func (v *volumes) provide(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	mine := claim.Annotations[wantedBy] == provisioner && claim.Annotations[selectedNode] == v.node
	if !mine || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	size := claim.Spec.Resources.Requests[core.ResourceStorage]
	path := filepath.Join(v.folder, name)
	if err := makeVolume(path, size.Value()); err != nil {
		return err
	}
	mode := core.PersistentVolumeFilesystem
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{madeBy: provisioner}},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: size},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    &mode,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{v.node},
				}},
			}}}},
		},
	}
	if class, err := v.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, meta.GetOptions{}); err != nil {
		return err
	} else if class.ReclaimPolicy != nil {
		volume.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	_, err := v.client.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (v *volumes) remove(ctx context.Context, volume *core.PersistentVolume) error {
	released := volume.Status.Phase == core.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == core.PersistentVolumeReclaimDelete
	mine := volume.Annotations[madeBy] == provisioner && volume.Spec.Local != nil &&
		volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0] == v.node
	if !mine || !released {
		return nil
	}
	path := volume.Spec.Local.Path
	if mounted(path) {
		if err := command("umount", path); err != nil {
			return err
		}
	}
	for _, gone := range []string{path, path + ".img"} {
		if err := os.RemoveAll(gone); err != nil {
			return err
		}
	}
	err := v.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}

// makeVolume makes an empty file system of a size and mounts it, unless that is done already.
func makeVolume(path string, size int64) error {
	if mounted(path) {
		return nil
	}
	// The smallest that ext4 is comfortable with.
	size = max(size, 16<<20)
	image := path + ".img"
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"truncate", "--size", strconv.FormatInt(size, 10), image},
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image},
		{"mount", "-o", "loop", image, path},
	} {
		if err := command(step...); err != nil {
			return err
		}
	}
	// A new volume is empty: initdb and others look.
	return os.Remove(filepath.Join(path, "lost+found"))
}

// powerCut stops a node's volumes as a failing power supply does: what was not flushed by then is lost.
func powerCut(folder string) error {
	const shutdown, withoutFlushing = 0x8004587d, 2
	images, err := filepath.Glob(filepath.Join(folder, "*.img"))
	if err != nil {
		return err
	}
	for _, image := range images {
		path := strings.TrimSuffix(image, ".img")
		root, err := os.Open(path)
		if err != nil {
			return err
		}
		if mounted(path) {
			err = unix.IoctlSetPointerInt(int(root.Fd()), shutdown, withoutFlushing)
		}
		root.Close()
		if err != nil {
			return fmt.Errorf("cutting the power of %s: %w", path, err)
		}
	}
	return nil
}

func mounted(path string) bool {
	return exec.Command("mountpoint", "-q", path).Run() == nil
}

func command(words ...string) error {
	if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", words, err, output)
	}
	return nil
}
