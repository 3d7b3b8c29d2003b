# Owns the addition of the guard to an image that already contains EmrEtlRunner and its JVM:
#
#   docker build -f docker/over-runner.Dockerfile -t acme/guarded-emr-etl-runner:1.0.4 \
#     --build-arg GUARD_IMAGE=acme/emr-etl-guard:0.1.0 --build-arg RUNNER_IMAGE=acme/emr-etl-runner:1.0.4 \
#     --build-arg RUNNER=/snowplow/bin/snowplow-emr-etl-runner .
#
# The container's start command does not change, as long as it finds the runner on PATH by its name:
# an entrypoint script that ends in `exec gosu snowplow snowplow-emr-etl-runner "$@"` now starts the
# guard, which starts the runner. An entrypoint with the runner's full path must be changed:
# ENTRYPOINT ["/usr/local/bin/snowplow-emr-etl-runner"].
#
# The image must have glibc 2.36 or later, as in Debian 12 and Ubuntu 22.10: the guard is built on
# Debian 12.
ARG GUARD_IMAGE
ARG RUNNER_IMAGE

FROM ${GUARD_IMAGE} AS guard

FROM ${RUNNER_IMAGE}
# The path of the runner in that image, a program or a jar.
ARG RUNNER=/opt/snowplow/snowplow-emr-etl-runner
# Its USER, or the user of the runner if an entrypoint changes it (gosu, su-exec).
ARG IMAGE_USER=root
ARG RUNNER_USER=${IMAGE_USER}
USER root
COPY --from=guard /usr/local/bin/emr-etl-guard /usr/local/bin/
COPY --from=guard /usr/share/doc/emr-etl-guard/ /usr/share/doc/emr-etl-guard/
# An unsuitable image fails here, and not in the first night: too old libraries, no certificates to
# verify AWS (a JVM has its own, and does not need the system's), a missing runner, or one that PATH
# finds before the guard.
RUN set -eu; \
    name=snowplow-emr-etl-runner; \
    emr-etl-guard --version; \
    test -s /etc/ssl/certs/ca-certificates.crt || test -s /etc/pki/tls/certs/ca-bundle.crt || { echo "the image lacks ca-certificates: install them" >&2; exit 1; }; \
    test -f "$RUNNER" || { echo "RUNNER: there is no $RUNNER" >&2; exit 1; }; \
    test ! -e "/usr/local/bin/$name" || { echo "/usr/local/bin/$name is the guard's place: move the runner elsewhere in its own image" >&2; exit 1; }; \
    ln -s emr-etl-guard "/usr/local/bin/$name"; \
    test "$(command -v "$name")" = "/usr/local/bin/$name" || { echo "PATH finds $(command -v "$name") before the guard" >&2; exit 1; }; \
    mkdir -p /var/lib/emr-etl-guard; \
    chown "$RUNNER_USER" /var/lib/emr-etl-guard; \
    chmod 0700 /var/lib/emr-etl-guard
ENV EMR_ETL_GUARD_RUNNER=${RUNNER} \
    EMR_ETL_GUARD_STATE_DIR=/var/lib/emr-etl-guard
# This folder must outlive the container: mount a named volume.
VOLUME /var/lib/emr-etl-guard
USER ${IMAGE_USER}
