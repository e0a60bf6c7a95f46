//! Clients, senders and receivers that drive a proxy under test, with codecs of their own.
