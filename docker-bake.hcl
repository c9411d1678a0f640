# The list of services is in docker-bake.override.hcl.
# docker buildx bake: builds the images of all services for this machine.
# VERSION=1.2.3 docker buildx bake gateway-published --push: builds and pushes one service for amd64 and arm64, with SBOM and provenance.
variable "REGISTRY" { default = "" }
variable "VERSION" { default = "local" }
variable "REVISION" { default = "" }
variable "CREATED" { default = "" }
variable "SOURCE" { default = "" }

group "default" { targets = ["service"] }

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
  target     = "runtime"
  args = {
    VERSION  = VERSION
    REVISION = REVISION
    CREATED  = CREATED
    SOURCE   = SOURCE
  }
}

target "service" {
  inherits = ["_common"]
  name     = service
  matrix   = { service = SERVICES }
  args     = { SERVICE = service }
  tags     = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}zerda/${service}:${VERSION}"]
}

target "published" {
  inherits  = ["_common"]
  name      = "${service}-published"
  matrix    = { service = SERVICES }
  args      = { SERVICE = service }
  tags      = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}zerda/${service}:${VERSION}"]
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=sbom", "type=provenance,mode=max"]
}
