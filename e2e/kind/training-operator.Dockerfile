# The operator is one static binary, built by e2e.planes.build.
FROM scratch
COPY training-operator.v1 /training-operator
USER 65532:65532
ENTRYPOINT ["/training-operator"]
