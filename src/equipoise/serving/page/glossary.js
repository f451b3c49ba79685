// What the curves and words mean, for someone who sees them for the first time.

const ENERGY =
  "D is an autoencoder here: it redraws an image, and ℒ is how far off it is, the mean error of a pixel. ℒ(x) is that of real " +
  "images, ℒ(G(z)) that of generated ones. Both should fall, and stay near each other.";
const LOSS = "What the discriminator (D) makes of real and of generated images. Its height is no measure of quality: look at the samples, at KID and at diversity.";
const TASK = "A task that is learnt beside the objective; how well it is done on real and on generated images.";

/** By the name of a measure, without _real and _fake. */
export const TERMS = {
  __proto__: null, // a measure may be called as anything
  energy: ENERGY,
  loss: LOSS,
  score: LOSS,
  probability: "How sure D is that an image is real: 1 is certain, 0 is certain that it was generated. In balance it cannot tell, and both are near ½.",
  k: "How much generated images count for D, from 0 to 1: the share of them whose ℒ is below γ ℒ(x), or, with one k for all, a weight that is adapted so that ℒ(G(z)) stays at γ ℒ(x). In balance it settles inside; stuck at 0 or 1, the balance is lost.",
  m_global: "One number for how far the training has come: ℒ(x) plus how far the balance is off, |γ ℒ(x) − ℒ(G(z))|. It should fall, and then level off.",
  gap: "How far apart the critic's values of real and generated images are, an estimate of their distance. It rises at first and should then fall.",
  balance: "ℒ(G(z)) over ℒ(x). BEGAN holds it at γ, the diversity ratio, or somewhat above it where each image has a k of its own: a lower γ gives cleaner images that are more alike.",
  margin: "The energy from which on D leaves generated images alone.",
  hinge_active: "The share of generated images that D still works against. At 0 for long, nothing is left to learn from.",
  accuracy: "How many images D tells rightly as real or generated. ½ is guessing, which is where a perfect generator brings it; near 1 the generator learns little.",
  loss_discriminator: "What D and G minimise. They pull against each other, so neither falling nor rising says how good the images are.",
  loss_generator: "What G minimises. Its opponent changes all the time, so it is no measure of quality.",
  gradient_norm: "How steep D is. Penalties hold it near 1, so that G is told everywhere which way is better.",
  boundary: "How steep D is at the boundary between real and generated images, which this objective holds down.",
  mixing_active: "The share of steps in which real images still count for D.",
  effective_sample_size: "How many of the images drawn for one latent carry weight. At 1, a single one decides and G only copies it.",
  log_z: "The moving estimate that normalises the weights of generated images.",
  log_weight_variance: "How unequal the weights of generated images are. It falls to 0 as G comes to the boundary.",
  pulling_away: "How alike D finds the generated images of a batch. Near 1 they are nearly one image: collapse.",
  code_distance: "How far the codes that D gives to real images are from the latents, as two clouds of points. At 0 every latent lies near real images.",
  recovery: "How badly the latent of a generated image can be read back from it.",
  classify: TASK,
  rotate: TASK,
  inpaint: "How badly hidden parts of images are filled in.",
  diversity: "How different the samples are from one another, over how different the data are. 1 is as diverse as the data; near 0 all samples are one image: collapse.",
  detail: "The share of finest detail in the samples over that in the data. 1 is as sharp as the data, below it is blurred, above it is harsh.",
  grain: "How much more evenly spread fine detail the samples have than the data: visible as grain. 0 is none.",
  clusters: "The data fall into clusters, such as kinds of digits: the share of the data whose cluster the samples reach. 1 is all of them.",
  held_out_energy: "ℒ of images that D is not trained on, over ℒ of those that it is. At 1 it knows none by heart, well above it does; where KID rises too, more images or --augment may help.",
  kid: "Kernel Inception Distance: how far the samples as a whole are from images that were held out of the training. 0 would be alike; lower is better. Compare it only with scores of the same data and features.",
  kid_spread: "How much KID varies between parts of the samples: differences smaller than this mean nothing.",
  lr: "How far a step goes.",
  modes: "How many of the data's clusters of points the samples reach.",
  in_modes: "The share of samples that lie close to a point where data should be.",
  spread: "How wide the samples spread within a cluster, over how wide the data do: 1 is right, 0 is a single point.",
};

/** The explanation of a measure, or undefined. */
export function meaning(name) {
  const stem = name.replace(/_(real|fake)$/, "");
  return TERMS[stem] ?? TERMS[stem.replace(/_(loss|accuracy|gradient)$/, "")];
}

/** Curves that matter first; the others are a click away. */
export const FIRST = ["energy_real", "loss_real", "score_real", "probability_real", "k", "m_global", "gap", "balance", "diversity", "kid", "modes", "in_modes"];
/** Scores of the moment, in order. */
export const SCORES = ["kid", "diversity", "detail", "grain", "clusters", "held_out_energy", "modes", "in_modes", "spread"];

export const STATES = {
  running: "training now",
  finished: "finished",
  interrupted: "interrupted",
  diverged: "stopped: diverged",
  imported: "a generator from elsewhere",
  empty: "nothing yet",
  unreadable: "unreadable",
};
