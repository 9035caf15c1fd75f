package telemetry

import (
	"fmt"
	"os"
	"strings"
)

// The signals, as the names of variables have them.
const (
	signalTraces  = "TRACES"
	signalMetrics = "METRICS"
)

// cannotExport names the variables that an exporter is made of.
func cannotExport(signal string, err error) error {
	name := "OTEL_" + signal + "_EXPORTER"
	return fmt.Errorf("%s=%q: expected otlp, console or none, and OTEL_EXPORTER_OTLP_* as OpenTelemetry specifies them: %w", name, os.Getenv(name), err)
}

// exported says whether the environment asks for a signal to be sent: by the name of an
// exporter or of an endpoint. The SDK's own default, OTLP to this host, would have every
// relay without a collector complain.
func exported(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch os.Getenv("OTEL_" + signal + "_EXPORTER") {
	case "none":
		return false
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	case "prometheus":
		// Its exporter would open a port of its own. The relay serves /metrics anyway.
		return signal != signalMetrics
	}
	return true
}
