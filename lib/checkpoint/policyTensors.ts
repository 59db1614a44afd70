/**
 * Canonical tensor names: what the graph asks for and what error messages print. They follow the shards' spelling:
 *
 *   vision_backbone.featurizer.{cls_token,reg_token,pos_embed,patch_embed.proj.{weight,bias}}         DINOv2
 *   vision_backbone.featurizer.blocks.N.{norm1,norm2}.{weight,bias}
 *   vision_backbone.featurizer.blocks.N.attn.{qkv,proj}.{weight,bias}
 *   vision_backbone.featurizer.blocks.N.mlp.{fc1,fc2}.{weight,bias}
 *   vision_backbone.featurizer.blocks.N.{ls1,ls2}.scale_factor
 *   vision_backbone.featurizer.blocks.N.{scale,shift}.{weight,bias}                                   FiLM
 *   vision_backbone.fused_featurizer.*                                                                SigLIP, same spelling
 *   vision_backbone.vision_queries, vision_backbone.vision_queries_fused                              learned queries
 *   vision_backbone.{featurizer,fused_featurizer}_mm_sampler.text_encoder.text_model.*                SigLIP text tower
 *   vision_backbone.{featurizer,fused_featurizer}_mm_sampler.text_post_projector.{0,2}.{weight,bias}
 *   vision_backbone.cross_vit_model.aggregate_proj.K.{0,2}.{weight,bias}
 *   projector.fcN.*  featurizer_proj.fcN.*  fused_featurizer_proj.fcN.*  moe_router.router.{0,2}.*
 *   {featurizer,fused_featurizer}_sampler_proj.{fc1,fc2}.*
 *   language_model.model.*  language_model.lm_head.weight
 *   action_head.{model,model_trans,model_rot,model_grip,noise_predictor.mlp_resnet}.*
 *   proprio_projector.{fc1,fc2}.*  noisy_action_projector.{fc1,fc2}.*
 *
 * Which of them a policy has, and their shapes: expectedTensors.ts.
 *
 * In a `vision_backbone--*.pt` the same tensors are spelled `vision_backbone.featurizer.blocks.N.block.norm1...`,
 * `vision_queries`, `fused_featurizer_mm_sampler...`, `cross_vit_model...`: `.block` is dropped, and what does not start
 * with `vision_backbone.` gets that prefix.
 */

export const dinov2Prefix = 'vision_backbone.featurizer';
export const siglipPrefix = 'vision_backbone.fused_featurizer';
