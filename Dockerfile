# docker build -t payoutd .
# docker run -v payoutd:/var/lib/payoutd -e PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID=… payoutd

ARG RUST=1.95-bookworm
ARG DEBIAN=bookworm-slim

FROM rust:${RUST} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin payoutd

FROM debian:${DEBIAN}
# Certificates to know the providers by.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# A number, so that a platform that forbids root can see that this is not root.
RUN install -d -o 10001 -g 10001 -m 0750 /var/lib/payoutd
COPY --from=build /src/target/release/payoutd /usr/local/bin/payoutd

USER 10001:10001
WORKDIR /var/lib/payoutd
VOLUME /var/lib/payoutd
ENV PAYOUTD__DATABASE__URL=sqlite:///var/lib/payoutd/payoutd.db \
    PAYOUTD__LOG__FORMAT=json

# The process gets the signal of `docker stop` itself and finishes what it has in hand; give it
# longer than [jobs] drain_ms: docker stop --time 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["payoutd", "doctor", "--quick"]

ENTRYPOINT ["payoutd"]
CMD ["run"]
