"""
Brokers that are ill in every way we know, RabbitMQ and Redis, with real emits and real workers.

What is promised: a request waits for nothing and never sees an exception; nothing is lost,
nothing is done twice; queues that are well go on; and whoever has to mend it is told.
"""
