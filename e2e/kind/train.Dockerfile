# What the scenarios' pods run: Python, a shell and a real all-reduce. It is unpacked on every node of every session, so
# what they do not need is left behind, in a second stage: layers never shrink.
FROM python:3.11-slim AS whole
RUN rm -rf /usr/share /usr/include /var /root \
      $(find / -xdev -type d \( -name ensurepip -o -name pip -o -name setuptools -o -name test -o -name idlelib \
        -o -name 'perl*' -o -name gconv -o -name systemd -o -name python-wheels \))
FROM scratch
COPY --from=whole / /
COPY allreduce.py /train/allreduce.py
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
