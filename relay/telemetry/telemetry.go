package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
)

// Options of [Open].
type Options struct {
	Table   string // a label of every series
	Version string
	Host    string
	Broker  Broker
	// Topics: the topic is a label.
	Topics bool
	// Context says which trace context a message carries.
	Context TraceContext
	Logger  *slog.Logger // nil: silence
}

// Broker is what is said of the broker.
type Broker struct {
	System   string // messaging.system
	Exchange string // RabbitMQ's; empty elsewhere
	// Server and Port are server.address and server.port.
	Server string
	Port   int
}

// Telemetry holds providers and exporters. Safe for concurrent use.
type Telemetry struct {
	options  Options
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	tracers  *sdktrace.TracerProvider // nil: no traces
	publish  *publishMeter
}

// Open starts the exporters that the standard OTEL_* variables name; an error says which
// variable cannot be used. It does not wait for a collector. The caller closes it.
func Open(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	about, err := describe(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Telemetry{options: o, registry: prometheus.NewRegistry(), publish: newPublishMeter(o)}
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := t.openMeters(ctx, about); err != nil {
		return nil, err
	}
	if err := t.openTracers(ctx, about); err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	return t, nil
}

// scope names the instrumentation.
const scope = "github.com/outbox-relay/outbox-relay"

// describe is the resource: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last, and
// win.
func describe(ctx context.Context, o Options) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			semconv.ServiceName("outbox-relay"), semconv.ServiceVersion(o.Version), semconv.ServiceInstanceID(o.Host+" "+o.Table),
		),
		resource.WithFromEnv(),
	)
}

func (t *Telemetry) openMeters(ctx context.Context, about *resource.Resource) error {
	pulled, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithProducer(t.publish))
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(about), sdkmetric.WithReader(pulled), sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter),
	}
	if exported(signalMetrics) {
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) { return t.publish, nil })
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return cannotExport(signalMetrics, err)
		}
		options = append(options, sdkmetric.WithReader(pushed))
	}
	t.meters = sdkmetric.NewMeterProvider(options...)
	return nil
}

func (t *Telemetry) openTracers(ctx context.Context, about *resource.Resource) error {
	if !exported(signalTraces) {
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return cannotExport(signalTraces, err)
	}
	t.tracers = sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(exporter))
	return nil
}

// Handler serves the metrics, in the format of Prometheus or of OpenMetrics.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(t.options.Logger.Handler(), slog.LevelWarn),
		// What is known is served, also where a part fails.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	})
}

// Delivered counts the acknowledged messages by how long they took, from the row's commit or from when it was due:
// by bounds in seconds, each inclusive, with one more count for what took longer. Do not
// change the bounds. Safe for any goroutine.
func (t *Telemetry) Delivered() (upTo []float64, counts []uint64) {
	return bounds[:], t.publish.delivered()
}

// Traces says whether spans are sent anywhere.
func (t *Telemetry) Traces() bool { return t.tracers != nil }

// Close sends what has not been sent, until ctx ends.
func (t *Telemetry) Close(ctx context.Context) error {
	var errs []error
	if t.tracers != nil {
		errs = append(errs, t.tracers.Shutdown(ctx))
	}
	return errors.Join(append(errs, t.meters.Shutdown(ctx))...)
}
