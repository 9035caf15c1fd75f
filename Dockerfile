# The image holds the static binary and the certificate authorities, nothing else:
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t outbox-relay .
#
# Equal sources, arguments and Go give equal files: docs/deploy.md says how to have an
# equal digest too.
ARG GO_VERSION=1.26.8

FROM --platform=$BUILDPLATFORM golang:$GO_VERSION AS toolchain

FROM toolchain AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.release=$VERSION" -o /out/outbox-relay ./cmd/outbox-relay

FROM scratch AS runtime
COPY --from=toolchain /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="outbox-relay" \
      org.opencontainers.image.description="Moves rows from an outbox table in PostgreSQL to NATS JetStream or RabbitMQ" \
      org.opencontainers.image.source="https://github.com/outbox-relay/outbox-relay" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# A number, because Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532
# There is no shell and no curl here. Kubernetes ignores this and has probes.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/outbox-relay", "health"]
ENTRYPOINT ["/outbox-relay"]

# Of a binary that was built before: what goreleaser packs.
FROM runtime AS release
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/outbox-relay /outbox-relay

# The last stage is what docker build makes unless told otherwise.
FROM runtime
COPY --from=build /out/outbox-relay /outbox-relay
