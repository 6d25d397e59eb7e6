"""Certificates for tests, good and bad, made by openssl in a directory."""
import subprocess

CA_CONF = """[ca]
default_ca = here
[here]
new_certs_dir = {d}
database = {d}/index
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""

LOCAL = "IP:127.0.0.1,DNS:localhost"


def openssl(d, *argv):
    subprocess.run(["openssl", *map(str, argv)], cwd=d, check=True, capture_output=True)


def authority(d, name="ca"):
    openssl(d, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "2", "-subj", f"/CN=test {name}", "-addext", "basicConstraints=critical,CA:TRUE")


def certificate(d, name, ca="ca", san=LOCAL, since="20200101000000Z", until="20991231235959Z"):
    """name.pem and name.key, signed by ca; ca None: by itself."""
    if ca is None:
        openssl(d, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}")
        return
    (d / "index").write_text("")
    (d / "ca.conf").write_text(CA_CONF.format(d=d))
    openssl(d, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}")
    openssl(d, "ca", "-batch", "-notext", "-config", "ca.conf", "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key", "-in", f"{name}.csr",
            "-out", f"{name}.pem", "-startdate", since, "-enddate", until)


def make(d):
    """An authority, a certificate that is right, and one for each way to be wrong."""
    authority(d)
    authority(d, "stranger")
    certificate(d, "good")
    certificate(d, "foreign", ca="stranger")
    certificate(d, "expired", until="20240101000000Z")
    certificate(d, "not-yet", since="20900101000000Z")
    certificate(d, "wrong-host", san="DNS:somebody.example,IP:127.0.0.9")
    certificate(d, "self-signed", ca=None)
    return d
