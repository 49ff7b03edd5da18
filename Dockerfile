# syntax=docker/dockerfile:1

FROM golang:1.26 AS build
WORKDIR /src
# The modules on their own, so that a change of code does not fetch them again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" \
      -o /out/carillon ./cmd/carillon

# Holds CA certificates, time zones and a passwd file; no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Carillon" \
      org.opencontainers.image.description="Notification delivery gateway: email, push and webhooks over Redis Streams" \
      org.opencontainers.image.source="https://github.com/carillonhq/carillon" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /out/carillon /carillon
COPY --from=build /src/LICENSE /LICENSE
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# 8080: ingest. 9090: health, metrics and profiles; keep it inside.
EXPOSE 8080 9090
# No HEALTHCHECK: there is no shell, and orchestrators ask /healthz and /readyz themselves.
ENTRYPOINT ["/carillon"]
CMD ["--help"]
