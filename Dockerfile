# sipward in a container: one static program, and nothing else.
#
#   docker build -t sipward .
#   docker run --network host --volume "$PWD/sipward.yaml:/etc/sipward/sipward.yaml:ro" sipward
#
# It takes the network of the host. Sound uses a port range of thousands (media:
# ports in the configuration), which publishing port by port does not suit, and
# sipward writes its own addresses into SIP and SDP: they have to be those where
# others reach it, not the container's.
#
# The configuration comes from the host; configs/office.yaml is one to begin with.
# It has to be readable for user 65532, as has the file with the API's token, if it
# names one. No port is below 1024, so no capability is needed:
#
#   docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges ...

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /sipward ./cmd/sipward

FROM scratch
COPY --from=build /sipward /sipward
USER 65532:65532
ENTRYPOINT ["/sipward"]
CMD ["run", "--config", "/etc/sipward/sipward.yaml"]
