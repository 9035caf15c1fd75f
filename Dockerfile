# The image holds the static binary and the certificate authorities, nothing
# else. Build it with: docker build --build-arg VERSION=v1.2.3 -t outbox-relay .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.release=$VERSION" -o /out/outbox-relay ./cmd/outbox-relay

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/outbox-relay /outbox-relay
# A number, because Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532
# There is no shell and no curl here. Kubernetes ignores this and has probes.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/outbox-relay", "health"]
ENTRYPOINT ["/outbox-relay"]
