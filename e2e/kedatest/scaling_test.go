package kedatest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/outbox-relay/outbox-relay/e2e/kedatest/scalers"
)

// manifests are the objects of one file.
type manifests struct {
	scaled         v1alpha1.ScaledObject
	authentication v1alpha1.TriggerAuthentication // of the trigger, where it names one
}

// read decodes a file as the API server does, and takes no field that KEDA does not know.
func read(t *testing.T, name string) manifests {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kubernetes/scaling/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var m manifests
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		into, known := map[string]any{"ScaledObject": &m.scaled, "TriggerAuthentication": &m.authentication}[kind.Kind]
		if !known || kind.APIVersion != v1alpha1.SchemeGroupVersion.String() {
			t.Fatalf("%s has a %s of %s", name, kind.Kind, kind.APIVersion)
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if n := len(m.scaled.Spec.Triggers); n != 1 {
		t.Fatalf("%s has %d triggers, want 1", name, n)
	}
	if ref := m.scaled.Spec.Triggers[0].AuthenticationRef; ref != nil && ref.Name != m.authentication.Name {
		t.Fatalf("%s: the trigger names the authentication %q, which is not there", name, ref.Name)
	}
	return m
}

func (m manifests) trigger() v1alpha1.ScaleTriggers { return m.scaled.Spec.Triggers[0] }

// config is what KEDA's operator makes of the objects. Values of Secrets are by name and
// key, as in "billing-rabbitmq/sink-url".
func (m manifests) config(t *testing.T, secrets map[string]string) *scalersconfig.ScalerConfig {
	t.Helper()
	parameters := map[string]string{}
	for _, ref := range m.authentication.Spec.SecretTargetRef {
		value, known := secrets[ref.Name+"/"+ref.Key]
		if !known {
			t.Fatalf("the authentication wants the key %s of the Secret %s", ref.Key, ref.Name)
		}
		parameters[ref.Parameter] = value
	}
	return &scalersconfig.ScalerConfig{
		ScalableObjectName: m.scaled.Name, ScalableObjectNamespace: "default", ScalableObjectType: "ScaledObject",
		GlobalHTTPTimeout: 10 * time.Second,
		TriggerType:       m.trigger().Type, TriggerMetadata: m.trigger().Metadata, MetricType: m.trigger().MetricType,
		AuthParams: parameters,
	}
}

// makers are KEDA's for the triggers' types.
var makers = map[string]func(*scalersconfig.ScalerConfig) (scalers.Scaler, error){
	"nats-jetstream": scalers.NewNATSJetStreamScaler,
	"rabbitmq":       scalers.NewRabbitMQScaler,
}

func open(t *testing.T, c *scalersconfig.ScalerConfig) scalers.Scaler {
	t.Helper()
	create := makers[c.TriggerType]
	if create == nil {
		t.Fatalf("no scaler is known here for the type %q", c.TriggerType)
	}
	s, err := create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}

// demand waits until the scaler reports the lag, and demands what the Deployment is scaled
// to by it: the lag divided by the target, none where there is no lag.
func demand(t *testing.T, s scalers.Scaler, lag, pods int64) {
	t.Helper()
	spec := s.GetMetricSpecForScaling(t.Context())
	if len(spec) != 1 || spec[0].External == nil || spec[0].External.Target.AverageValue == nil {
		t.Fatalf("the metric is %+v, want an external one with an average value", spec)
	}
	target := spec[0].External.Target.AverageValue.Value()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		values, active, err := s.GetMetricsAndActivity(t.Context(), spec[0].External.Metric.Name)
		if err == nil && len(values) == 1 && values[0].Value.Value() == lag && active == (lag > 0) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("KEDA reports %+v, active %t (%v), want %d", values, active, err, lag)
		}
	}
	if want := (lag + target - 1) / target; want != pods {
		t.Errorf("a lag of %d at a target of %d makes %d pods, want %d", lag, target, want, pods)
	}
}
