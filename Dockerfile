# One image a service: docker build --build-arg SERVICE=gateway --target runtime .
# SERVICE comes after what all images share, so that those layers are made once; and because only the folder of that
# service is copied, an edit in another service leaves this image as it is.

ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

# Dependencies and what every service is made of.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/chassis/package.json packages/chassis/
COPY packages/contracts/package.json packages/contracts/
COPY packages/gateway/package.json packages/gateway/
COPY packages/order-service/package.json packages/order-service/
COPY packages/user-service/package.json packages/user-service/
# Both secrets are optional: the npm configuration of whoever builds (a registry of their own), and the authorities that
# registry's certificate is signed by. Neither stays in a layer. Nothing that is installed needs its install script here.
RUN --mount=type=secret,id=npmrc,target=/run/secrets/npmrc \
    --mount=type=secret,id=authorities,target=/run/secrets/authorities \
    if [ -f /run/secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc; fi; \
    if [ -f /run/secrets/authorities ]; then export NPM_CONFIG_CAFILE=/run/secrets/authorities; fi; \
    npm ci --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY scripts/build.ts scripts/
COPY scripts/lib scripts/lib
# Their owner is whom the dev image runs as: changed files are put in their place there.
COPY --chown=1000:1000 packages/contracts packages/contracts
COPY --chown=1000:1000 packages/chassis packages/chassis

FROM dependencies AS build
ARG SERVICE
COPY --chown=1000:1000 packages/${SERVICE} packages/${SERVICE}
RUN npm run build -- ${SERVICE}

# For `skaffold dev -p hot`: tsx runs the sources as they are, and starts anew when one of them changes. It looks at them by their
# path time and again: skaffold puts other files in the place of the changed ones, which a watch of the old ones misses.
FROM dependencies AS dev
ARG SERVICE
COPY --chown=1000:1000 packages/${SERVICE} packages/${SERVICE}
WORKDIR /app/packages/${SERVICE}
ENV CHOKIDAR_USEPOLLING=1 CHOKIDAR_INTERVAL=200
USER 1000:1000
ENTRYPOINT ["node"]
CMD ["/app/node_modules/tsx/dist/cli.mjs", "watch", "--clear-screen=false", "src/main.ts"]

# What runs: Node, one bundle with its migrations, and the native code that it needs. No shell, no package manager, no embedded
# database.
FROM ${RUNTIME_IMAGE} AS runtime
ARG SERVICE
ARG VERSION=0.1.0
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
# The native code of argon2 asks for it, and slim runtime images leave it out.
COPY --from=build /lib/*-linux-gnu/librt.so.1 /usr/lib/
ENV NODE_ENV=production
USER 65532:65532
ENTRYPOINT ["/nodejs/bin/node"]
CMD ["bin/main.mjs"]
