"""Runs over HTTP: a page and an API that watch them live and explore what they have learnt.

- `serve`: the server process, from its flags to its end; begin to read here.
- `app`: routes, page, errors in one sentence; `routes/`: what is answered, a file a subject.
- `settings`: what one server is told, and the bounds of everything; `guard`, `protocol`: what is refused before a route
  sees it.
- `catalogue`: the runs by id; `following`, `watcher`: new lines of their files, to everybody who watches.
- `image_queue`: generators, batched across requests; `background`: slower work, shared by all who ask for it;
  `models`, `explore`: what both compute with.
- `uploads`: a stranger's picture; `toys`, `trainings`: training here, in steps or as a process.
"""
