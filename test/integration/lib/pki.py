# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, by openssl: authorities, servers and clients of theirs."""
import os, subprocess


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name, self.path = folder, name, os.path.join(folder, name + ".pem")
        self.openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", name + ".key")
        self.openssl("req", "-x509", "-new", "-key", name + ".key", "-subj", "/CN=" + name, "-days", "2", "-out", name + ".pem")

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, cwd=self.folder, stderr=subprocess.DEVNULL)

    def issue(self, name, subject, names=(), client=False, out=None):
        """The paths of a certificate and its key; put in place by rename, the key first."""
        out = out or os.path.join(self.folder, name)
        with open(os.path.join(self.folder, name + ".ext"), "w") as f:
            f.write("basicConstraints=CA:FALSE\nextendedKeyUsage=%s\n%s" % ("clientAuth" if client else "serverAuth", "subjectAltName=%s\n" % ",".join(names) if names else ""))
        self.openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", name + ".key.new")
        self.openssl("req", "-new", "-key", name + ".key.new", "-subj", subject, "-out", name + ".csr")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", self.path, "-CAkey", self.name + ".key", "-CAcreateserial", "-days", "2", "-extfile", name + ".ext", "-out", name + ".crt.new")
        for end in (".key", ".crt"):
            os.rename(os.path.join(self.folder, name + end + ".new"), out + end)
        return out + ".crt", out + ".key"
