"""A mail server for tests: aiosmtpd, which keeps what it receives as JSON files.

Each accepted mail becomes MAILS/0001.json, 0002.json, ...: its envelope, its headers, and its parts as Python's own
mail parser sees them. The local part of a recipient asks for a fault:

    unknown@      550 for the recipient
    later@        451 for the recipient
    refuse-mail@  554 for the mail, after its end
    silent@       no answer to the mail, which is kept
    hang-up@      the connection is cut after the end of the mail, which is kept
"""

import argparse
import asyncio
import email
import email.policy
import hashlib
import json
import pathlib
import signal
import ssl

from aiosmtpd.smtp import SMTP, AuthResult

RECIPIENT_FAULTS = {
    "unknown": "550 5.1.1 no such user",
    "later": "451 4.3.0 try again later",
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mails", type=pathlib.Path, required=True, help="folder for what is received")
    parser.add_argument("--security", choices=["none", "starttls", "implicit"], required=True)
    parser.add_argument("--certificate", help="PEM file with certificate and key")
    parser.add_argument("--user", help="with --password: a login is required")
    parser.add_argument("--password")
    parser.add_argument("--mechanism", choices=["PLAIN", "LOGIN"], help="the only way to log in")
    parser.add_argument("--size-max", type=int, default=32 * 1024 * 1024, help="bytes of a mail")
    return parser.parse_args()


class Keeper:
    """Judges recipients and keeps mails."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        fault = RECIPIENT_FAULTS.get(address.split("@")[0])
        if fault:
            return fault
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        wishes = {address.split("@")[0] for address in envelope.rcpt_tos}
        if "refuse-mail" in wishes:
            return "554 5.6.0 this mail is not wanted"
        name = self.keep(envelope)
        if "silent" in wishes:
            await asyncio.sleep(3600)
        if "hang-up" in wishes:
            server.transport.abort()
        return f"250 2.0.0 kept as {name}"

    def keep(self, envelope):
        self.count += 1
        path = self.folder / f"{self.count:04}.json"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        record = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in mail.items()},
            "defects": [repr(defect) for part in mail.walk() for defect in part.defects],
            "parts": [describe(part) for part in mail.walk() if not part.is_multipart()],
        }
        # Complete or not there: the test may look at any time.
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(record))
        partial.rename(path)
        return path.stem


def describe(part):
    content = part.get_payload(decode=True)
    return {
        "type": part.get_content_type(),
        "file_name": part.get_filename(),
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "text": part.get_content() if part.get_content_maintype() == "text" else None,
    }


def smtp_options(options, context):
    chosen = {"data_size_limit": options.size_max, "enable_SMTPUTF8": True}
    if options.security == "starttls":
        chosen |= {"tls_context": context, "require_starttls": True}
    if options.user:
        # With TLS from the first byte, aiosmtpd itself does not know that there is TLS.
        starttls = options.security == "starttls"
        chosen |= {"authenticator": authenticator(options), "auth_required": True, "auth_require_tls": starttls}
    if options.mechanism:
        chosen["auth_exclude_mechanism"] = {"PLAIN", "LOGIN"} - {options.mechanism}
    return chosen


def authenticator(options):
    def authenticate(server, session, envelope, mechanism, data):
        right = data.login == options.user.encode() and data.password == options.password.encode()
        return AuthResult(success=right, handled=False)

    return authenticate


async def main(options):
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    keeper = Keeper(options.mails)
    chosen = smtp_options(options, context)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keeper, **chosen),
        "127.0.0.1",
        options.port,
        ssl=context if options.security == "implicit" else None,
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(main(arguments()))
