//! MQTT over WebSocket: section 6.
