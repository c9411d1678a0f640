# docker buildx bake: builds the three images for this machine.
# docker buildx bake release --push: builds and pushes them for amd64 and arm64, with SBOM and provenance.
variable "REGISTRY" { default = "" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "" }
variable "CREATED" { default = "" }
variable "SOURCE" { default = "" }
variable "SERVICES" { default = ["gateway", "user-service", "order-service"] }

group "default" { targets = ["service"] }
group "release" { targets = ["published"] }

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
