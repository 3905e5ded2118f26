/* SPDX-License-Identifier: MIT
 *
 * config_place.h - where things lie when nobody says.  For config*.c alone.  All give (free()).
 */
#ifndef P2PD_CONFIG_PLACE_H
#define P2PD_CONFIG_PLACE_H

char	*config_place_state(void);
char	*config_place_share(const char *state);
char	*config_place_socket(const char *state);
/* The host's name, made to fit a peer's. */
char	*config_place_name(void);

#endif
