package deploytest

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kubernetes = root + "/deploy/kubernetes"

// decoder takes no field that Kubernetes does not know, and none twice.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// buildable lists the directories that a user builds: those with a kustomization that
// is no component.
func buildable(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(kubernetes, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "kustomization.yaml" && !strings.Contains(readFile(t, path), "kind: Component") {
			found = append(found, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("found only %q to build", found)
	}
	return found
}

// kustomize builds a directory, as kubectl apply -k does, and decodes strictly what
// comes out.
func kustomize(t *testing.T, dir string) []runtime.Object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s: %s %s: %v", dir, resource.GetKind(), resource.GetName(), err)
			continue
		}
		objects = append(objects, object)
	}
	return objects
}

// pod is a pod template and where it stands.
type pod struct {
	name     string
	meta     metav1.ObjectMeta
	spec     corev1.PodSpec
	replicas int32
}

func pods(objects []runtime.Object) []pod {
	var found []pod
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found = append(found, pod{"Deployment " + o.Name, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec, *o.Spec.Replicas})
		case *batchv1.Job:
			found = append(found, pod{"Job " + o.Name, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec, 1})
		}
	}
	return found
}

// eachPod runs a test for every pod that the manifests make.
func eachPod(t *testing.T, test func(t *testing.T, p pod, objects []runtime.Object)) {
	for _, dir := range buildable(t) {
		objects := kustomize(t, dir)
		for _, p := range pods(objects) {
			t.Run(filepath.Base(dir)+"/"+p.name, func(t *testing.T) { test(t, p, objects) })
		}
	}
}

// TestManifestsDecodeStrictly: a misspelled field is not applied, and nobody is told.
func TestManifestsDecodeStrictly(t *testing.T) {
	for _, dir := range buildable(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			if len(kustomize(t, dir)) == 0 {
				t.Error("nothing comes out")
			}
		})
	}
	// Or the decoder is not strict.
	_, _, err := decoder.Decode([]byte(`{"apiVersion": "v1", "kind": "ServiceAccount", "automountToken": false}`), nil, nil)
	if err == nil {
		t.Error("a field that does not exist was taken")
	}
}

// TestPodsAreRestricted asks the code of Kubernetes' own admission, for the strictest
// standard.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	judge := func(p pod) policy.AggregateCheckResult {
		return policy.AggregateCheckResults(evaluator.EvaluatePod(
			api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &p.meta, &p.spec))
	}
	eachPod(t, func(t *testing.T, p pod, _ []runtime.Object) {
		if result := judge(p); !result.Allowed {
			t.Error(result.ForbiddenDetail())
		}
		// The standard leaves these to the pod, and so does it for each container of
		// ours.
		for _, c := range append(p.spec.InitContainers, p.spec.Containers...) {
			s := c.SecurityContext
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s may write to its root", c.Name)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s says not what it needs: %+v", c.Name, c.Resources)
			}
		}
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			t.Error("the pod has a token of Kubernetes' API, which it does not need")
		}
	})
	if judge(pod{spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "any"}}}}).Allowed {
		t.Error("a pod that restricts nothing was allowed")
	}
}

// relayOf returns the relay's container, and whether it is a sidecar.
func relayOf(p pod) (relay *corev1.Container, sidecar bool) {
	for _, list := range [][]corev1.Container{p.spec.InitContainers, p.spec.Containers} {
		for i, c := range list {
			if c.Image == "outbox-relay" && len(c.Args) == 0 {
				return &list[i], c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
			}
		}
	}
	return nil, false
}

func TestSidecarHasNoReadinessOfItsOwn(t *testing.T) {
	sidecars := 0
	eachPod(t, func(t *testing.T, p pod, _ []runtime.Object) {
		relay, sidecar := relayOf(p)
		if relay == nil {
			return
		}
		if relay.StartupProbe == nil || relay.LivenessProbe == nil {
			t.Error("the relay has no startup or no liveness probe")
		}
		for _, probe := range []*corev1.Probe{relay.StartupProbe, relay.LivenessProbe} {
			if probe.HTTPGet.Path != "/livez" {
				t.Errorf("a probe asks %s: an outage of the broker or the database would end the relay", probe.HTTPGet.Path)
			}
		}
		if sidecar {
			sidecars++
		}
		if sidecar == (relay.ReadinessProbe != nil) {
			t.Errorf("sidecar %v, readiness probe %v: a sidecar's readiness is its pod's", sidecar, relay.ReadinessProbe)
		}
	})
	if sidecars == 0 {
		t.Error("there is no sidecar")
	}
}

// appGrace is what the manifest with a sidecar promises the application's containers.
const appGrace = 30 * time.Second

// TestGracePeriodsAddUp: what is in flight at SIGTERM is awaited before Kubernetes
// kills.
func TestGracePeriodsAddUp(t *testing.T) {
	eachPod(t, func(t *testing.T, p pod, objects []runtime.Object) {
		relay, sidecar := relayOf(p)
		if relay == nil {
			return
		}
		grace, err := time.ParseDuration(environment(t, relay, objects)["OUTBOX_SHUTDOWN_GRACE"])
		if err != nil {
			t.Fatalf("OUTBOX_SHUTDOWN_GRACE: %v", err)
		}
		need := grace + closing(t)
		if sidecar {
			need += appGrace
		}
		if has := time.Duration(*p.spec.TerminationGracePeriodSeconds) * time.Second; has <= need {
			t.Errorf("the pod has %v to end, want more than %v", has, need)
		}
	})
}

// environment is what a container's variables are, those of its ConfigMaps included.
func environment(t *testing.T, c *corev1.Container, objects []runtime.Object) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, from := range c.EnvFrom {
		found := false
		for _, object := range objects {
			if m, ok := object.(*corev1.ConfigMap); ok && m.Name == from.ConfigMapRef.Name {
				found = true
				maps.Copy(values, m.Data)
			}
		}
		if !found {
			t.Fatalf("%s takes its environment from the ConfigMap %s, which is not made", c.Name, from.ConfigMapRef.Name)
		}
	}
	for _, v := range c.Env {
		values[v.Name] = v.Value
	}
	return values
}

// TestSecretsAreFiles: an environment can be read in many places, and never changes.
func TestSecretsAreFiles(t *testing.T) {
	eachPod(t, func(t *testing.T, p pod, objects []runtime.Object) {
		for _, c := range append(p.spec.InitContainers, p.spec.Containers...) {
			if c.Image != "outbox-relay" {
				continue
			}
			files := 0
			for name, value := range environment(t, &c, objects) {
				if strings.HasSuffix(name, "_URL") {
					t.Errorf("%s has %s in its environment", c.Name, name)
				}
				if !strings.HasSuffix(name, "_FILE") || value == "" { // empty: taken back
					continue
				}
				files++
				if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
					return m.SubPath == "" && m.ReadOnly && filepath.Dir(value) == m.MountPath && fromSecret(p, m.Name)
				}) {
					t.Errorf("%s=%s is in no volume of a secret, mounted whole and read-only", name, value)
				}
			}
			if files == 0 {
				t.Errorf("%s reads no secret from a file", c.Name)
			}
		}
	})
}

func fromSecret(p pod, volume string) bool {
	return slices.ContainsFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume && v.Secret != nil })
}

// TestStandaloneRelaysStandBy: two relays, which a drained node does not take at once.
func TestStandaloneRelaysStandBy(t *testing.T) {
	eachStandalone(t, func(t *testing.T, p pod, objects []runtime.Object) {
		if p.replicas != 2 {
			t.Errorf("%d replicas, want 2", p.replicas)
		}
		for _, object := range objects {
			if o, ok := object.(*policyv1.PodDisruptionBudget); ok {
				demandSelected(t, "the disruption budget", o.Spec.Selector, p)
				return
			}
		}
		t.Error("there is no disruption budget")
	})
}

// TestNetworkPolicyOpensWhatTheRelayNeeds: names, PostgreSQL and the broker, and no way
// in.
func TestNetworkPolicyOpensWhatTheRelayNeeds(t *testing.T) {
	want := map[string][]int32{"nats": {53, 53, 5432, 4222}, "rabbitmq": {53, 53, 5432, 5671, 5672}}
	eachStandalone(t, func(t *testing.T, p pod, objects []runtime.Object) {
		for _, object := range objects {
			o, ok := object.(*networkingv1.NetworkPolicy)
			if !ok {
				continue
			}
			demandSelected(t, "the network policy", &o.Spec.PodSelector, p)
			var open []int32
			for _, rule := range o.Spec.Egress {
				for _, port := range rule.Ports {
					open = append(open, port.Port.IntVal)
				}
			}
			if ports := want[filepath.Base(t.Name())]; !slices.Equal(open, ports) || len(o.Spec.PolicyTypes) != 2 || len(o.Spec.Ingress) != 0 {
				t.Errorf("the policy opens %v for %v, want %v, and no way in", open, o.Spec.PolicyTypes, ports)
			}
			return
		}
		t.Error("there is no network policy")
	})
}

func eachStandalone(t *testing.T, test func(t *testing.T, p pod, objects []runtime.Object)) {
	for _, overlay := range []string{"nats", "rabbitmq"} {
		t.Run(overlay, func(t *testing.T) {
			objects := kustomize(t, filepath.Join(kubernetes, "overlays", overlay))
			found := pods(objects)
			if len(found) != 1 {
				t.Fatalf("there are %d pods, want one", len(found))
			}
			test(t, found[0], objects)
		})
	}
}

// demandSelected: an empty selector would match every pod of the namespace.
func demandSelected(t *testing.T, what string, selector *metav1.LabelSelector, p pod) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	if s.Empty() || !s.Matches(labels.Set(p.meta.Labels)) {
		t.Errorf("%s selects %s, the pods are %v", what, s, p.meta.Labels)
	}
}

// TestScalingExamplesDecodeStrictly has those of Kubernetes' own kinds. KEDA's are judged in
// e2e/kedatest: its code brings the clients of every cloud.
func TestScalingExamplesDecodeStrictly(t *testing.T) {
	if _, _, err := decoder.Decode([]byte(readFile(t, kubernetes+"/scaling/hpa.yaml")), nil, nil); err != nil {
		t.Error(err)
	}
}
