"""Signs a webhook with the library of Standard Webhooks, and prints the headers as JSON.

Arguments: the secret, the message's id, how many seconds ago it is, the body.
"""

import json
import sys
from datetime import datetime, timedelta, timezone

from standardwebhooks import Webhook

secret, message, age, body = sys.argv[1:]
at = datetime.now(timezone.utc) - timedelta(seconds=int(age))
signature = Webhook(secret).sign(msg_id=message, timestamp=at, data=body)
print(json.dumps({
    "webhook-id": message,
    "webhook-timestamp": str(int(at.timestamp())),
    "webhook-signature": signature,
}))
