# Builds the image of one service: docker build --build-arg SERVICE=gateway --target runtime .
# SERVICE comes after the shared layers, so the images share them. Only the folder of that service is copied, so a change of
# another service does not change this image.

ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

# The manifests of all packages. The next stage copies them by content, so a change of other files does not install anything.
FROM ${NODE_IMAGE} AS manifests
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages packages
RUN find packages -mindepth 2 -maxdepth 2 ! -name package.json -exec rm -rf {} +

# Dependencies and shared packages.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY --from=manifests /app ./
# Both secrets are optional: an npm configuration (for a private registry), and the certificate authorities of that registry.
# Neither is stored in a layer. No dependency needs its install script here.
RUN --mount=type=secret,id=npmrc,target=/run/secrets/npmrc \
    --mount=type=secret,id=authorities,target=/run/secrets/authorities \
    if [ -f /run/secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc; fi; \
    if [ -f /run/secrets/authorities ]; then export NPM_CONFIG_CAFILE=/run/secrets/authorities; fi; \
    npm ci --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY scripts/build.ts scripts/
COPY scripts/lib scripts/lib
# The dev image runs as this owner and must be able to replace changed files.
COPY --chown=1000:1000 packages/contracts packages/contracts
COPY --chown=1000:1000 packages/chassis packages/chassis
COPY --chown=1000:1000 packages/events packages/events
COPY --chown=1000:1000 packages/upstream packages/upstream

FROM dependencies AS build
ARG SERVICE
COPY --chown=1000:1000 packages/${SERVICE} packages/${SERVICE}
RUN npm run build -- ${SERVICE}

# For `skaffold dev -p hot`: tsx runs the sources and restarts when one of them changes. It polls the paths, because skaffold
# replaces changed files, which file watches miss.
FROM dependencies AS dev
ARG SERVICE
COPY --chown=1000:1000 packages/${SERVICE} packages/${SERVICE}
WORKDIR /app/packages/${SERVICE}
ENV CHOKIDAR_USEPOLLING=1 CHOKIDAR_INTERVAL=200
USER 1000:1000
ENTRYPOINT ["node"]
CMD ["/app/node_modules/tsx/dist/cli.mjs", "watch", "--clear-screen=false", "src/main.ts"]

# The runtime image: Node, one bundle with its migrations, and native code. No shell, package manager or embedded database.
FROM ${RUNTIME_IMAGE} AS runtime
ARG SERVICE
ARG VERSION=
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="zerda ${SERVICE}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
WORKDIR /app
COPY --from=build /app/dist/${SERVICE} ./
# Manifests and licenses of the packages in the bundle, where scanners find them.
COPY --from=build /app/dist/bundled-packages/${SERVICE} ./node_modules/
# argon2's native code needs this library, which slim runtime images omit.
COPY --from=build /lib/*-linux-gnu/librt.so.1 /usr/lib/
ENV NODE_ENV=production
USER 65532:65532
ENTRYPOINT ["/nodejs/bin/node"]
CMD ["bin/main.mjs"]
