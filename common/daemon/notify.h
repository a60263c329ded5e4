/* SPDX-License-Identifier: Apache-2.0 */
/* systemd's notification protocol, see sd_notify(3): a datagram to the socket named in the environment. */
#ifndef CORACLE_DAEMON_NOTIFY_H
#define CORACLE_DAEMON_NOTIFY_H

#include "common/base/base.h"

/* Nothing where $NOTIFY_SOCKET is not set. */
void notify_send(const char *state);
/* Half of what $WATCHDOG_USEC allows, in milliseconds; -1 where there is no watchdog for this process. */
int notify_watchdog_ms(void);

#endif
